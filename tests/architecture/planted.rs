//! Each rule against small sources that break it, and against ones that do not.

use super::house::House;
use super::rules;

/// What a rule says to these sources, with `lib.rs` made up from their names.
fn said(rule: fn(&House) -> Vec<String>, sources: &[(&str, &str)]) -> Vec<String> {
    rule(&House::of(sources))
}

#[test]
fn an_arrow_to_a_higher_floor_is_seen_however_it_is_written() {
    let peer = ("peer/mod.rs", "pub mod session;\npub use session::Session;");
    let session = ("peer/session.rs", "pub struct Session;");
    for media in [
        "use crate::peer::Session;",
        "use crate::{base, peer::{self, Session as S}};",
        "fn f() { crate::peer::session::start(); }",
        "fn f() { use super::peer::Session; }",
        "fn f() { tokio::select! { _ = crate::peer::Session::end() => {} } }",
        "use crate::peer as other; fn f() -> other::Session { todo() }",
        "mod inner { use super::super::peer::Session; }",
    ] {
        let wrong = said(rules::arrows_go_down, &[("media/mod.rs", media), peer, session]);
        assert!(wrong.iter().any(|line| line.ends_with("of peer::session")), "{media}: {wrong:?}");
    }
    for media in [
        "// crate::peer::Session",
        "const TEXT: &str = \"crate::peer::Session\";",
        "pub(in crate::media) struct Own;",
        "use std::peer::Session;",
    ] {
        let wrong = said(rules::arrows_go_down, &[("media/mod.rs", media), peer, session]);
        assert_eq!(wrong, [""; 0], "{media}");
    }
    let down = said(rules::arrows_go_down, &[("peer/mod.rs", "use crate::media::X;"), ("media/mod.rs", "")]);
    assert_eq!(down, [""; 0]);
}

#[test]
fn a_room_that_the_plan_lacks_and_one_kept_apart_are_seen() {
    assert_eq!(said(rules::arrows_go_down, &[("attic/mod.rs", "")]), ["attic is in no room of the plan"]);
    let sources = [("broker/mod.rs", "use crate::media::Media;"), ("media/mod.rs", "pub struct Media;")];
    assert_eq!(said(rules::arrows_go_down, &sources), ["broker uses media::Media of media"]);
    let inner = [
        ("peer/mod.rs", "pub mod send; pub mod session;"),
        ("peer/session.rs", "pub struct Session;"),
        ("peer/send.rs", "use super::session::Session;"),
    ];
    assert_eq!(
        said(rules::arrows_go_down, &inner),
        ["peer::send uses peer::session::Session of peer::session"]
    );
}

#[test]
fn a_rule_for_a_folder_that_is_gone_is_seen() {
    let wrong = said(rules::folders_are_there, &[("media/mod.rs", ""), ("peer/net.rs", "")]);
    assert!(
        wrong.iter().any(|line| line == "the plan speaks of media::capture, and there is none"),
        "{wrong:?}"
    );
    assert!(!wrong.iter().any(|line| line.contains("peer::net,")), "{wrong:?}");
}

#[test]
fn a_circle_of_files_is_seen_and_a_reexport_is_none() {
    let circle = [
        ("peer/mod.rs", "mod a; mod b; mod c; pub use a::A; pub use c::C;"),
        ("peer/a.rs", "use super::b::B; pub struct A(B);"),
        ("peer/b.rs", "pub struct B; fn f() { super::C::new(); }"),
        ("peer/c.rs", "use super::A; pub struct C;"),
    ];
    assert_eq!(
        said(rules::no_circles, &circle),
        [
            "peer::a uses peer::b::B of peer::b",
            "peer::b uses peer::C::new of peer::c",
            "peer::c uses peer::A of peer::a"
        ]
    );
    let with_parent = [
        ("peer/mod.rs", "mod a; pub use a::A; pub struct Error; fn f(_: A) {}"),
        ("peer/a.rs", "use super::Error; pub struct A;"),
    ];
    assert_eq!(said(rules::no_circles, &with_parent).len(), 2);
    let straight = [
        ("peer/mod.rs", "mod a; mod b; pub use a::A;"),
        ("peer/a.rs", "use super::b::B; pub struct A;"),
        ("peer/b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::peer::A; }"),
    ];
    assert_eq!(said(rules::no_circles, &straight), [""; 0]);
    let beside = [
        ("media/mod.rs", "mod plan;"),
        ("media/plan.rs", "use super::plan_tests::x; #[cfg(test)] #[path = \"plan_tests.rs\"] mod tests;"),
        ("media/plan_tests.rs", "use super::*; use super::plan::Plan;"),
    ];
    assert_eq!(said(rules::no_circles, &beside), [""; 0], "a file of tests is no part of a circle");
}

#[test]
fn methods_away_from_their_type_are_seen() {
    let worker = ("media/worker.rs", "pub struct Worker; impl Worker { fn a(&self) {} }");
    let sources = |other| {
        [
            ("media/mod.rs", "mod worker; mod other; pub use worker::Worker;"),
            worker,
            ("media/other.rs", other),
        ]
    };
    for other in [
        "use super::Worker; impl Worker {}",
        "impl super::worker::Worker {}",
        "use super::worker::*; impl Worker {}",
    ] {
        assert_eq!(
            said(rules::methods_stand_with_their_type, &sources(other)),
            ["methods of Worker in media::other, not in media::worker"],
            "{other}"
        );
    }
    let foreign = "use super::Worker; impl Drop for Worker { fn drop(&mut self) {} }";
    assert_eq!(said(rules::methods_stand_with_their_type, &sources(foreign)).len(), 1);
    let own = "use super::Worker; pub trait Works {} impl Works for Worker {}";
    assert_eq!(said(rules::methods_stand_with_their_type, &sources(own)), [""; 0]);
    let adapter = [
        ("media/mod.rs", "pub struct Error;"),
        ("http/mod.rs", "impl IntoResponse for crate::media::Error {}"),
    ];
    assert_eq!(said(rules::methods_stand_with_their_type, &adapter), [""; 0]);
}

#[test]
fn one_name_for_two_types_is_seen() {
    let sources = [
        ("media/mod.rs", "pub struct Place; struct Private;"),
        (
            "peer/mod.rs",
            "pub(crate) enum Place {} struct Private; #[cfg(test)] mod tests { pub struct Place; }",
        ),
    ];
    assert_eq!(said(rules::a_public_name_means_one_type, &sources), ["Place in media, peer"]);
}

#[test]
fn a_library_outside_of_its_room_is_seen() {
    for code in [
        "use rtc::ice;",
        "use rtc as other;",
        "fn f() { rtc::ice::new(); }",
        "fn f() { wrap!(rtc::ice::new()); }",
    ] {
        assert_eq!(
            said(rules::libraries_stay_in_their_rooms, &[("media/mod.rs", code)]),
            ["media names rtc"],
            "{code}"
        );
        assert_eq!(said(rules::libraries_stay_in_their_rooms, &[("peer/mod.rs", code)]), [""; 0], "{code}");
    }
    for code in ["use webrtc_util::rtc;", "fn f() { own::rtc::x(); }", "// rtc::ice"] {
        assert_eq!(said(rules::libraries_stay_in_their_rooms, &[("media/mod.rs", code)]), [""; 0], "{code}");
    }
}

#[test]
fn a_second_unsafe_is_seen() {
    let one = ("base/memory.rs", "fn f() { unsafe { trim() } } // unsafe");
    assert_eq!(said(rules::unsafe_is_one_line, &[one]), [""; 0]);
    let two = [one, ("media/mod.rs", "fn f() { vec![unsafe { x() }]; }")];
    assert_eq!(said(rules::unsafe_is_one_line, &two), ["unsafe in base::memory", "unsafe in media"]);
}

#[test]
fn a_queue_without_a_bound_is_seen() {
    for (code, path) in [
        ("use std::sync::mpsc; fn f() { mpsc::channel::<u8>(); }", "std::sync::mpsc::channel"),
        ("use std::sync::mpsc::channel;", "std::sync::mpsc::channel"),
        ("fn f() { tokio::sync::mpsc::unbounded_channel::<u8>(); }", "tokio::sync::mpsc::unbounded_channel"),
        ("use crossbeam_channel as queue; fn f() { queue::unbounded(); }", "crossbeam_channel::unbounded"),
        ("use futures_util::channel::mpsc::{self, unbounded};", "futures_util::channel::mpsc::unbounded"),
    ] {
        assert_eq!(
            said(rules::queues_are_bounded, &[("media/mod.rs", code)]),
            [format!("media uses {path}")],
            "{code}"
        );
    }
    for code in [
        "use tokio::sync::mpsc; fn f() { mpsc::channel(16); }",
        "use std::sync::mpsc; fn f() { mpsc::sync_channel(16); }",
        "#[cfg(test)] mod tests { use std::sync::mpsc::channel; }",
    ] {
        assert_eq!(said(rules::queues_are_bounded, &[("media/mod.rs", code)]), [""; 0], "{code}");
    }
}

#[test]
fn a_task_without_an_owner_is_seen() {
    for code in [
        "fn f() { tokio::spawn(async {}); }",
        "use tokio::task; fn f() { task::spawn_local(async {}); }",
        "use tokio::spawn; fn f() { spawn(async {}); }",
        "fn f(handle: Handle) { handle.spawn(async {}); }",
        "fn f() { Handle::current().spawn(async {}); }",
        "fn f(&self) { self.media.handle().spawn(async {}); }",
    ] {
        assert_eq!(said(rules::tasks_have_owners, &[("media/mod.rs", code)]).len(), 1, "{code}");
        assert_eq!(said(rules::tasks_have_owners, &[("base/tasks.rs", code)]), [""; 0], "{code}");
    }
    for code in [
        "fn f(tasks: &TaskGroup) { tasks.spawn(\"reader\", async {}); }",
        "fn f() { std::thread::Builder::new().spawn(|| {}); std::process::Command::new(\"x\").spawn(); }",
        "fn f() { tokio::task::spawn_blocking(|| {}); }",
        "#[cfg(test)] mod tests { fn f() { tokio::spawn(async {}); } }",
    ] {
        assert_eq!(said(rules::tasks_have_owners, &[("media/mod.rs", code)]), [""; 0], "{code}");
    }
}

#[test]
fn what_is_too_long_is_seen() {
    let file = "\n".repeat(451);
    assert_eq!(said(rules::files_are_short, &[("media/mod.rs", &file)]).len(), 1);
    assert_eq!(said(rules::files_are_short, &[("media/mod.rs", &file[1..])]), [""; 0]);
    let body =
        |lines: usize| format!("impl X {{ fn f() {{\n{}\n// said\n\n}} }}", vec!["x();"; lines].join("\n"));
    assert_eq!(said(rules::functions_are_short, &[("media/mod.rs", &body(74))]), ["f in media"]);
    assert_eq!(said(rules::functions_are_short, &[("media/mod.rs", &body(73))]), [""; 0]);
    let test = format!("#[cfg(test)] mod tests {{ {} }}", body(90));
    assert_eq!(said(rules::functions_are_short, &[("media/mod.rs", &test)]), [""; 0]);
}
