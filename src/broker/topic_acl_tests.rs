use super::*;

fn acl() -> TopicAcl {
    TopicAcl::new("porthole", &Id::new("cam").unwrap())
}

fn with(grant: &str, rights: &str) -> Role {
    Role::Client(ClientRights { grant: Some(grant.to_owned()), rights: rights.parse().unwrap(), ends: false })
}

fn of_grant(grant: &str, may_control: bool) -> Role {
    with(grant, if may_control { "view,control" } else { "view" })
}

#[test]
fn clients_speak_for_themselves_alone() {
    let (acl, viewer) = (acl(), of_grant("anna", false));
    assert!(acl.may_publish(&viewer, "tab", "porthole/cam/signal/tab/up"));
    for topic in [
        "porthole/cam/signal/other/up",
        "porthole/cam/signal/tab/down",
        "porthole/cam/signal/tab/up/more",
        "porthole/cam/signal//up",
        "porthole/other/signal/tab/up",
        "porthole/cam/availability",
        "porthole/cam/info",
        "porthole/cam/state",
        "porthole/cam/event",
        "porthole/cam/snapshot",
        "porthole/cam/anything",
        "porthole/cam/set/streaming",
        "porthole/cam/do/close",
        "porthole/cam/set/",
        "porthole/cam",
        "homeassistant/camera/cam/config",
        "$SYS/broker/uptime",
        "$share/group/porthole/cam/signal/tab/up",
        "",
    ] {
        assert!(!acl.may_publish(&viewer, "tab", topic), "{topic}");
    }
    assert!(!acl.may_publish(&viewer, "a/b", "porthole/cam/signal/a/b/up"), "an id that is none");
}

#[test]
fn the_right_to_control_opens_set_and_do_and_nothing_else() {
    let (acl, dashboard) = (acl(), of_grant("home", true));
    for topic in ["porthole/cam/set/streaming", "porthole/cam/set/control/hue", "porthole/cam/do/close"] {
        assert!(acl.may_publish(&dashboard, "board", topic), "{topic}");
        assert!(!acl.may_subscribe(&dashboard, "board", topic), "{topic}");
    }
    for topic in
        ["porthole/cam/set", "porthole/cam/do/", "porthole/other/set/streaming", "porthole/cam/state"]
    {
        assert!(!acl.may_publish(&dashboard, "board", topic), "{topic}");
    }
}

#[test]
fn what_a_right_opens_can_be_read() {
    let acl = acl();
    for (rights, readable) in [
        ("view", "availability info state"),
        ("control", "availability info state event"),
        ("snapshot", "availability info snapshot"),
        ("talk", "availability info"),
        ("view,control,snapshot", "availability info state event snapshot +"),
    ] {
        let client = with("anna", rights);
        for topic in ["availability", "info", "state", "event", "snapshot", "other", "+"] {
            let may = readable.split(' ').any(|other| other == topic);
            for device in ["porthole/cam", "porthole/+", "+/+"] {
                assert_eq!(
                    acl.may_subscribe(&client, "tab", &format!("{device}/{topic}")),
                    may,
                    "{rights}: {topic}"
                );
            }
        }
        for filter in ["porthole/cam/signal/tab/down", "porthole/+/signal/tab/down"] {
            assert!(acl.may_subscribe(&client, "tab", filter), "{filter}");
        }
        let pictures = acl.may_publish(&client, "tab", "porthole/cam/do/snapshot");
        assert_eq!(pictures, rights.contains("control,snapshot"), "{rights}");
    }
    let (less, more) = (with("anna", "view"), with("anna", "view,control"));
    assert!(
        more.continues_as(&less) && !less.continues_as(&more),
        "what was subscribed would still be delivered"
    );
    assert!(with("anna", "view").continues_as(&with("anna", "view,talk")));
}

#[test]
fn a_filter_that_covers_more_is_refused() {
    let (acl, viewer) = (acl(), of_grant("anna", true));
    for filter in [
        "#",
        "+/#",
        "porthole/#",
        "porthole/cam/#",
        "porthole/cam/state/#",
        "porthole/cam/signal/#",
        "porthole/cam/signal/tab/#",
        "porthole/cam/signal/+/down",
        "porthole/cam/signal/+/up",
        "porthole/cam/signal/tab/+",
        "porthole/cam/signal/tab/up",
        "porthole/cam/signal/other/down",
        "porthole/cam/+/tab/down",
        "porthole/cam/+/+/+",
        "+/+/+/+",
        "porthole/cam/set/+",
        "porthole/cam/do/#",
        "porthole/other/state",
        "other/cam/state",
        "$share/group/porthole/cam/signal/tab/down",
        "$share/x/porthole/cam/state",
        "$share/x/#",
        "$SYS/#",
        "$SYS/broker/clients",
        "porthole/cam",
        "+",
        "",
    ] {
        assert!(!acl.may_subscribe(&viewer, "tab", filter), "{filter}");
    }
    for id in ["+", "#", "a/b"] {
        assert!(!acl.may_subscribe(&viewer, id, &format!("porthole/cam/signal/{id}/down")), "{id}");
    }
}

#[test]
fn a_root_of_several_levels_is_one() {
    let acl = TopicAcl::new("home/porthole", &Id::new("cam").unwrap());
    let viewer = of_grant("anna", false);
    assert!(acl.may_subscribe(&viewer, "tab", "home/porthole/cam/state"));
    assert!(acl.may_subscribe(&viewer, "tab", "home/+/cam/signal/tab/down"));
    assert!(!acl.may_subscribe(&viewer, "tab", "home/porthole/cam/signal/other/down"));
    assert!(!acl.may_subscribe(&viewer, "tab", "porthole/cam/state"));
}

#[test]
fn the_device_may_everything_and_its_name_is_its_own() {
    let acl = acl();
    assert!(acl.may_publish(&Role::Device, "cam", "porthole/cam/state"));
    assert!(acl.may_subscribe(&Role::Device, "cam", "porthole/cam/signal/+/up"));
    assert!(acl.may_leave_will(&Role::Device, "cam", "porthole/cam/availability", true));
    assert!(acl.may_use_client_id(&Role::Device, "cam"));
    assert!(!acl.may_use_client_id(&of_grant("anna", true), "cam"));
    assert!(acl.may_use_client_id(&of_grant("anna", true), "cam-1"));
}

#[test]
fn no_will_is_kept() {
    let (acl, viewer) = (acl(), of_grant("anna", false));
    let up = "porthole/cam/signal/tab/up";
    assert!(acl.may_leave_will(&viewer, "tab", up, false));
    assert!(!acl.may_leave_will(&viewer, "tab", up, true));
    // Never published, so it harms nobody: Home Assistant has such a will.
    assert!(acl.may_leave_will(&viewer, "tab", "homeassistant/status", true));
}

#[test]
fn a_client_id_belongs_to_its_grant_for_a_while() {
    let (mut client_ids, now) = (ClientIds::default(), Instant::now());
    let (anna, ben) = (of_grant("anna", false), of_grant("ben", true));
    assert!(client_ids.enter(now, "tab", &anna));
    assert!(!client_ids.enter(now, "tab", &ben));
    assert!(!client_ids.enter(
        now,
        "tab",
        &Role::Client(ClientRights { grant: None, rights: Rights::all(), ends: false })
    ));
    assert!(client_ids.enter(now, "tab", &anna), "a reconnect takes over");
    client_ids.leave(now, "tab");
    assert!(!client_ids.enter(now + HOLD * 2, "tab", &ben), "one of the two is still there");
    let gone = now + HOLD * 2;
    client_ids.leave(gone, "tab");
    assert!(!client_ids.enter(gone + HOLD / 2, "tab", &ben));
    assert!(client_ids.enter(gone + HOLD, "tab", &ben));
    assert!(!client_ids.enter(gone + HOLD, "tab", &anna));
}

#[test]
fn names_are_bounded_and_those_in_use_are_kept() {
    let (mut client_ids, now) = (ClientIds::default(), Instant::now());
    let (anna, ben) = (of_grant("anna", false), of_grant("ben", false));
    assert!(client_ids.enter(now, "tab", &anna));
    for at in 0..3 * MAX_IDS {
        let id = format!("churn-{at}");
        assert!(client_ids.enter(now, &id, &ben));
        client_ids.leave(now, &id);
    }
    assert!(client_ids.0.len() <= MAX_IDS, "{}", client_ids.0.len());
    assert!(!client_ids.enter(now, "tab", &ben));
}
