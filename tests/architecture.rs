//! The house as `lib.rs` draws it, held for every file: `architecture/rooms.rs` is the plan, `architecture/rules.rs` what
//! follows from it, and `architecture/planted.rs` shows that each rule sees what it looks for.

#[path = "architecture/house.rs"]
mod house;
#[path = "architecture/planted.rs"]
mod planted;
#[path = "architecture/reading.rs"]
mod reading;
#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/rules.rs"]
mod rules;

use std::collections::BTreeSet;

use house::House;

/// What breaks a rule today: lines `rule: what`. It only ever gets shorter.
const DEBTS: &str = include_str!("architecture/debts.txt");

/// Nothing breaks the rule but its debts, and no debt is named that is paid.
fn hold(rule: &str, found: Vec<String>) {
    let found: BTreeSet<String> = found.into_iter().collect();
    let prefix = format!("{rule}: ");
    let debts: BTreeSet<String> =
        DEBTS.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect();
    let new: Vec<String> = found.difference(&debts).map(|line| format!("{prefix}{line}")).collect();
    let paid: Vec<String> = debts.difference(&found).map(|line| format!("{prefix}{line}")).collect();
    assert!(new.is_empty(), "against the rules:\n{}", new.join("\n"));
    assert!(paid.is_empty(), "paid, take it out of architecture/debts.txt:\n{}", paid.join("\n"));
}

macro_rules! rules {
    ($($rule:ident)*) => {
        $(#[test]
        fn $rule() {
            hold(stringify!($rule), rules::$rule(&House::of_the_crate()));
        })*

        #[test]
        fn every_debt_belongs_to_a_rule() {
            let rules = [$(concat!(stringify!($rule), ": ")),*];
            let lost: Vec<&str> = DEBTS.lines().filter(|line| !rules.iter().any(|rule| line.starts_with(rule))).collect();
            assert!(lost.is_empty(), "{lost:#?}");
        }
    };
}

rules! {
    arrows_go_down
    folders_are_there
    no_circles
    methods_stand_with_their_type
    a_public_name_means_one_type
    libraries_stay_in_their_rooms
    unsafe_is_one_line
    queues_are_bounded
    tasks_have_owners
    files_are_short
    functions_are_short
}

#[test]
fn the_plan_goes_one_way() {
    for (floor, room) in rooms::ROOMS.iter().enumerate() {
        for below in room.may_import {
            let other = rooms::ROOMS.iter().position(|other| other.name == *below);
            assert!(other.is_some_and(|other| other < floor), "{} may not import {below}", room.name);
        }
    }
    for (from, to, why) in rooms::EXCEPTIONS {
        assert!(!why.is_empty(), "{from} to {to} without a reason");
    }
}
