//! axe-core finds nothing in the page: in light and dark, on a phone and on a wall, in English and German, with each panel open.

#[path = "support/bar_page.rs"]
mod bar_page;
mod support;

use std::path::Path;

use bar_page::{World, with_sound};
use serde_json::json;

const SIZES: [(&str, u32, u32); 3] = [("phone", 360, 740), ("low", 1000, 420), ("wall", 2560, 1440)];
/// The keys that open them.
const PANELS: [(&str, &str); 4] = [("", "picture"), ("e", "settings"), ("i", "statistics"), ("?", "keys")];
const ESCAPE: &str = "\u{e00c}";

/// What a person who cannot see or point would stumble over. Live pictures have no captions.
const AXE: &str = "
    const { violations } = await axe.run(document, { rules: { 'video-caption': { enabled: false } } });
    return violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html.slice(0, 200), failureSummary])]);";

/// What lies over an open panel's button to close it, where a finger would touch it.
const OVER_CLOSE: &str = "
    const close = inBar('.ui-panel:not([hidden]) > header button');
    if (!close) return null;
    const { left, top, width, height } = close.getBoundingClientRect();
    const over = document.elementFromPoint(left + width / 2, top + height / 2);
    return over.shadowRoot ? null : over.outerHTML.slice(0, 200);";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_kept_out_by_how_the_page_is_made() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewer/node_modules/axe-core/axe.min.js");
    let Ok(axe) = std::fs::read_to_string(axe) else {
        eprintln!("SKIPPED: there is no axe-core in viewer/node_modules; `make viewer` installs it");
        return;
    };
    let Some(world) = World::of("view,control,snapshot,talk", with_sound, &[]).await else { return };
    world.until("shown('[data-name=settings]') && shown('[data-name=talk]')").await;
    world.keys("m").await;
    world.until("shown('.ui-volume')").await;
    world.browser.run(&format!("{axe}; window.axe = axe; return 0")).await;
    for language in ["en", "de"] {
        let speak = format!(
            "document.documentElement.lang = document.querySelector('porthole-camera').lang = {language:?}; return 0"
        );
        world.browser.run(&speak).await;
        for (screen, width, height) in SIZES {
            for scheme in ["light", "dark"] {
                look(&world, width, height, scheme).await;
                for (key, panel) in PANELS {
                    open(&world, key).await;
                    let over = world.browser.run(OVER_CLOSE).await;
                    assert_eq!(over, json!(null), "over Close of {panel} on a {screen}");
                    let found = world.browser.run_async(AXE).await;
                    assert_eq!(found, json!([]), "{panel} on a {screen}, {scheme}, {language}: {found:#}");
                    keep_screenshot(&world, &format!("page-{panel}-{screen}-{scheme}-{language}")).await;
                    world.keys(ESCAPE).await;
                }
            }
        }
    }
    world.close().await;
}

/// Opens the panel of this key, if any; in the settings the question, too.
async fn open(world: &World, key: &str) {
    if key.is_empty() {
        return;
    }
    world.keys(key).await;
    world.until("shown('.ui-panel:not([hidden])')").await;
    if key == "e" {
        world.click("[part=privacy]").await;
    }
}

/// A screen of this size, in light or dark.
async fn look(world: &World, width: u32, height: u32, scheme: &str) {
    let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
    world.browser.devtools("Emulation.setDeviceMetricsOverride", size).await;
    let features = json!([
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]);
    world.browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    world.browser.a_moment().await;
}

/// For a look with one's own eyes, and for the documentation: `make screenshots`.
async fn keep_screenshot(world: &World, name: &str) {
    let Some(directory) = std::env::var_os("PORTHOLE_TEST_SCREENSHOTS") else { return };
    let png = world.browser.client.screenshot().await.expect("a screenshot");
    std::fs::write(Path::new(&directory).join(format!("{name}.png")), png).expect("write the screenshot");
}
