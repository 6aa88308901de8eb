//! `<porthole-camera>` where people put it: the docs' page, Home Assistant's card, Grafana's panel, a page over https.

mod support;

use serde_json::json;
use support::browser::{Browser, site_of};
use support::certificates::Certificates;
use support::daemon::{DEVICE, Daemon, Settings};
use support::element_page::{World, add, assert_live, assert_open, element_page, prepare, until};
use support::mosquitto::{Mosquitto, Options};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_that_the_docs_print_shows_the_picture() {
    let Some(world) = World::new().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let block = |kind: &str| {
        let text = include_str!("../docs/embedding.md");
        text.split_once(&format!("```{kind}\n"))
            .and_then(|(_, rest)| rest.split_once("```"))
            .expect("a block")
            .0
    };
    let site = world.daemon.page().await;
    let link = format!("{site}#broker={}&amp;device={DEVICE}", world.broker.ws_url());
    let page = block("html").replace("http://CAMERA:8080/", &site).replace("LINK", &link);
    browser.open(&site_of(format!("{page}<style>{}</style>", block("css"))).await).await;
    browser
        .run(
            "window.camera = document.querySelector('porthole-camera');
             window.porthole = { state: () => camera.state ?? {}, stats: () => camera.stats() }; return 0",
        )
        .await;
    browser.phase("live").await;
    browser.frames_advance(10).await;
    let looks = "const part = (name) => getComputedStyle(camera.shadowRoot.querySelector(name));
                 return [part('video').objectFit, part('header').display, camera.shadowRoot.querySelector('[part=controls]') !== null]";
    assert_eq!(browser.run(looks).await, json!(["cover", "none", true]));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_assistants_card_is_the_element_and_speaks_its_users_language() {
    let Some(mut world) = World::new().await else { return };
    let site = world.daemon.page().await;
    let Some(browser) = element_page(&site).await else { return };
    let link = json!(format!("{site}#broker={}&device={DEVICE}", world.broker.ws_url()));
    // As Home Assistant does it: the module, the list of cards, a card by its type, the house, its settings, its place.
    let make = format!(
        "window.customCards = [{{ type: 'another' }}];
         await import({}); await import({});
         window.card = document.createElement(customCards[1].type);
         card.hass = {{ language: 'de', locale: {{ language: 'de' }}, states: {{}} }};
         card.setConfig({{ ...customElements.get('porthole-card').getStubConfig(), type: 'custom:porthole-card' }});
         document.body.append(card);
         return [customCards.length, customCards[1].name, card.shadowRoot.textContent]",
        json!(format!("{site}porthole-card.js")),
        json!(format!("{site}porthole-card.js?again")),
    );
    let shown = browser.run_async(&make).await;
    assert_eq!((&shown[0], &shown[1]), (&json!(2), &json!("Porthole camera")));
    assert!(
        shown[2].as_str().is_some_and(|words| words.starts_with("Hier ist noch keine Kamera genannt.")),
        "{shown}"
    );
    let refused = "try { card.setConfig({ link: 'x', fit: '<b>' }); return null } catch (error) { return error.message }";
    assert_eq!(browser.run(refused).await, json!("„fit“ ist „<b>“ und muss „contain“ oder „cover“ sein."));

    let configure = |more: &str| {
        format!(
            "card.setConfig({{ link: {link}, controls: true{more} }}); window.camera = card.shadowRoot.querySelector('porthole-camera'); return camera.state.attempt"
        )
    };
    browser.run(&configure("")).await;
    assert_live(&browser).await;
    let looks = "const { width, height } = camera.getBoundingClientRect();
                 return [camera.lang, camera.controls, Math.round(width / height * 100), getComputedStyle(camera.video).objectFit]";
    assert_eq!(browser.run(looks).await, json!(["de", true, 178, "contain"]));
    // Another look and another house are no other call, and what is configured is text.
    let before = browser.run("return camera.state.session").await;
    browser.run(&configure(", aspect_ratio: '4:3', fit: 'cover'")).await;
    browser.run("card.hass = { language: 'en' }; card.hass = undefined; return 0").await;
    browser.frames_advance(10).await;
    assert_eq!(browser.run(looks).await, json!(["en", true, 133, "cover"]));
    assert_eq!(browser.run("return [camera.state.session, card.getCardSize()]").await, json!([before, 8]));
    browser.run(&configure(", name: '<img src=x onerror=\"window.run = 1\">'")).await;
    assert_live(&browser).await;
    assert_eq!(
        browser.run("return [camera.shadowRoot.querySelector('img'), window.run ?? null]").await,
        json!([null, null])
    );
    // Its rows are fewer than the picture is high.
    browser.run("const box = document.createElement('div'); box.style.height = '120px'; box.append(card); document.body.append(box); return 0").await;
    assert_eq!(browser.run("return camera.getBoundingClientRect().height").await, 120);
    browser.run("card.setConfig({}); return 0").await;
    world.dashboard.viewers(0).await;
    assert_open(&browser, 0, 0).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_over_https_of_another_origin_reaches_the_broker_and_the_device() {
    let certificates = Certificates::new();
    let options = Options { websocket: true, tls: Some(&certificates), ..Options::default() };
    let Some(broker) = Mosquitto::start_with(&options) else { return };
    let Some(browser) = Browser::start_with(&["--ignore-certificate-errors"]).await else { return };
    let device = Settings::new(&broker.url())
        .path("http.tls_cert_file", &certificates.path("server.pem"))
        .path("http.tls_key_file", &certificates.path("server.key"));
    let mut daemon = Daemon::run(device);
    let site = daemon.page().await.replace("http://", "https://");
    // Of that one only the origin is wanted.
    let other = Daemon::run(certificates.settings().text("device.id", "other"));
    let page = format!("{}viewer.json", other.page().await.replace("http://", "https://"));
    prepare(&browser, &page, &site).await;
    let origins = browser.run("return [location.origin, isSecureContext]").await;
    assert_eq!(origins, json!([page.trim_end_matches("/viewer.json"), true]));
    assert!(!page.starts_with(&site), "{page} is the device's own origin");
    add(&browser, &json!({ "broker": broker.wss_url(), "device": DEVICE })).await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 1).await;
    // What is not encrypted no browser lets it reach, and that is said.
    browser.run("camera.broker = 'ws://192.0.2.1:9001/'; return 0").await;
    until(&browser, "camera.state.code", &json!("insecure")).await;
    browser.run(&format!("camera.whep = {}; return 0", json!(format!("{site}whep")))).await;
    assert_live(&browser).await;
    assert_open(&browser, 1, 0).await;
    browser
        .run(&format!(
            "camera.setAttribute('link', {}); camera.whep = null; camera.broker = null; return 0",
            json!(format!("{site}#broker={}&device={DEVICE}", broker.wss_url()))
        ))
        .await;
    assert_live(&browser).await;
    daemon.assert_unharmed();
    browser.close().await;
}

/// Of Grafana there is no package here: this is its text panel's way of putting HTML into the page (`dangerously-set-html-content`), under
/// the rules of its `content_security_policy_template` with the broker added, as docs/embedding.md says.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_docs_give_to_grafanas_text_panel_shows_the_picture_under_its_rules() {
    let Some(world) = World::new().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let text = include_str!("../docs/embedding.md");
    let panel = text
        .split_once("Grafana: a text panel")
        .and_then(|(_, rest)| rest.split_once("```html\n"))
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("a block")
        .0;
    let site = world.daemon.page().await;
    let link = format!("{site}#broker={}&amp;device={DEVICE}", world.broker.ws_url());
    let panel = json!(panel.replace("http://CAMERA:8080/", &site).replace("LINK", &link))
        .to_string()
        .replace("</", "<\\/");
    let policy = |connect: &str| {
        format!(
            "script-src 'self' 'unsafe-eval' 'unsafe-inline' 'strict-dynamic' 'nonce-grafana'; object-src 'none'; font-src 'self'; \
             style-src 'self' 'unsafe-inline' blob:; img-src * data:; base-uri 'self'; connect-src 'self' grafana.com{connect}; \
             manifest-src 'self'; media-src 'none'; form-action 'self'"
        )
    };
    let page = |connect: &str| {
        format!(
            "<!doctype html><meta http-equiv='Content-Security-Policy' content=\"{}\"><div style='height: 300px; width: 600px'></div>
             <script nonce='grafana'>
                 window.refused = [];
                 document.addEventListener('securitypolicyviolation', ({{ effectiveDirective }}) => refused.push(effectiveDirective));
                 document.querySelector('div').appendChild(document.createRange().createContextualFragment({panel}));
             </script>",
            policy(connect)
        )
    };
    let ready = "window.camera = document.querySelector('porthole-camera');
                 window.words = () => camera.shadowRoot.querySelector('.words').innerText;
                 window.porthole = { state: () => camera.state ?? {}, stats: () => camera.stats() }; return 0";
    // As it is without the broker among the rules: words, and what the rule is.
    browser.open(&site_of(page("")).await).await;
    browser.run(ready).await;
    until(&browser, "camera.state?.code", &json!("broker-unreachable")).await;
    assert_eq!(browser.run("return refused.includes('connect-src') && words() !== ''").await, true);

    browser.open(&site_of(page(&format!(" {}", world.broker.ws_url()))).await).await;
    browser.run(ready).await;
    browser.phase("live").await;
    browser.frames_advance(10).await;
    let looks = "return [camera.getBoundingClientRect().height, camera.controls, refused.filter((rule) => rule !== 'worker-src')]";
    assert_eq!(browser.run(looks).await, json!([300, true, []]));
    browser.close().await;
}
