//! What holds in the house, each rule as a function from the sources to what breaks it.

use std::collections::BTreeMap;

use super::house::{File, House, Names};
use super::rooms::{
    BARE_SPAWN, CRATES, EXCEPTIONS, INNER, LONGEST_FILE, LONGEST_FUNCTION, ROOMS, TASKS, UNBOUNDED, UNSAFE,
};

/// Whether a module is a folder or below it.
pub fn is_in(module: &str, folder: &str) -> bool {
    module == folder || module.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Neither the map nor the program's first line is a room.
fn rooms(house: &House) -> impl Iterator<Item = (usize, &File)> {
    house.files.iter().enumerate().filter(|(_, file)| !matches!(file.module.as_str(), "" | "main"))
}

/// No arrow to a higher floor, nor to a room below that the plan keeps apart. Tests are held to it too.
pub fn arrows_go_down(house: &House) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, file) in rooms(house) {
        let own = top(&file.module);
        let Some(room) = ROOMS.iter().find(|room| room.name == own) else {
            wrong.push(format!("{} is in no room of the plan", file.module));
            continue;
        };
        for (other, path, _) in house.arrows(at) {
            let to = house.files[other].module.as_str();
            let inner = INNER.iter().filter(|(folder, _)| is_in(&file.module, folder));
            let is_inside = inner.into_iter().all(|(folder, may)| {
                is_in(to, folder) || may.iter().any(|may| is_in(to, may) || is_in(&path, may))
            });
            let is_allowed = (top(to) == own || room.may_import.contains(&top(to))) && is_inside;
            let is_exception = EXCEPTIONS.iter().any(|(from, into, _)| file.module == *from && to == *into);
            if !is_allowed && !is_exception {
                wrong.push(format!(
                    "{} uses {path} of {}",
                    file.module,
                    if to.is_empty() { "lib" } else { to }
                ));
            }
        }
    }
    wrong
}

/// Each folder that the plan speaks of is there: a rule for one that has another name today holds nothing.
pub fn folders_are_there(house: &House) -> Vec<String> {
    let inner = INNER.iter().flat_map(|(folder, may)| std::iter::once(folder).chain(*may));
    let named = inner.chain(CRATES.iter().flat_map(|(_, rooms)| *rooms)).chain([&TASKS]).chain(UNSAFE);
    let is_there = |folder: &str| house.files.iter().any(|file| is_in(&file.module, folder));
    named
        .filter(|folder| !is_there(folder))
        .map(|folder| format!("the plan speaks of {folder}, and there is none"))
        .collect()
}

/// No circle of imports between files, tests left out. Each arrow that lies on a circle is named.
pub fn no_circles(house: &House) -> Vec<String> {
    let arrows: Vec<Vec<(usize, String)>> = (0..house.files.len())
        .map(|at| {
            let used =
                house.arrows(at).into_iter().filter(|(.., is_test)| !is_test && !house.files[at].is_test);
            used.map(|(other, path, _)| (other, path)).collect()
        })
        .collect();
    let reach: Vec<Vec<bool>> = (0..arrows.len()).map(|from| reached(&arrows, from)).collect();
    let mut wrong = Vec::new();
    for (at, used) in arrows.iter().enumerate() {
        for (other, path) in used.iter().filter(|(other, _)| reach[*other][at]) {
            wrong.push(format!("{} uses {path} of {}", house.files[at].module, house.files[*other].module));
        }
    }
    wrong
}

fn reached(arrows: &[Vec<(usize, String)>], from: usize) -> Vec<bool> {
    let mut seen = vec![false; arrows.len()];
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        for (other, _) in &arrows[at] {
            if !std::mem::replace(&mut seen[*other], true) {
                next.push(*other);
            }
        }
    }
    seen
}

/// A type's methods stand beside it. A trait is implemented beside the type or beside the trait; another room, which
/// alone may name a library, may implement that library's traits.
pub fn methods_stand_with_their_type(house: &House) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, file) in rooms(house) {
        for (own, of) in &file.impls {
            let name = own.last().map(String::as_str).unwrap_or_default();
            let Some(home) = house.home_of(own).filter(|home| house.files[*home].types.contains(name)) else {
                continue;
            };
            let is_elsewhere = home != at;
            let is_right = match of {
                None => !is_elsewhere,
                Some(of) => {
                    !is_elsewhere
                        || house.home_of(of) == Some(at)
                        || top(&house.files[home].module) != top(&file.module)
                }
            };
            if !is_right {
                let what = of.as_ref().and_then(|of| of.last()).map_or("methods", String::as_str);
                wrong.push(format!(
                    "{what} of {name} in {}, not in {}",
                    file.module, house.files[home].module
                ));
            }
        }
    }
    wrong
}

/// A name that others can import means one type in the whole crate.
pub fn a_public_name_means_one_type(house: &House) -> Vec<String> {
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, file) in rooms(house) {
        for name in &file.public_types {
            homes.entry(name).or_default().push(&file.module);
        }
    }
    homes.retain(|_, homes| homes.len() > 1);
    homes.iter().map(|(name, homes)| format!("{name} in {}", homes.join(", "))).collect()
}

/// Only the named rooms know each library.
pub fn libraries_stay_in_their_rooms(house: &House) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in &house.files {
        for (name, homes) in CRATES {
            let names_it = file.paths.iter().any(|(path, _)| path[0] == *name);
            if names_it && !homes.iter().any(|home| is_in(&file.module, home)) {
                wrong.push(format!("{} names {name}", file.module));
            }
        }
    }
    wrong
}

/// Files with `unsafe`, once for each.
pub fn unsafe_is_one_line(house: &House) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for file in &house.files {
        found.extend(std::iter::repeat_n(file.module.clone(), file.unsafes));
    }
    found.sort();
    let is_right = matches!(&found[..], [one] if UNSAFE.contains(&one.as_str()));
    if is_right { Vec::new() } else { found.iter().map(|module| format!("unsafe in {module}")).collect() }
}

/// Every queue has a bound. What tests hold on to is theirs.
pub fn queues_are_bounded(house: &House) -> Vec<String> {
    uses_of(house, |path| {
        let whole = path.join("::");
        let last = path.last().map(String::as_str).unwrap_or_default();
        UNBOUNDED.iter().any(|name| whole == *name || last == *name)
    })
}

/// Every task has an owner.
pub fn tasks_have_owners(house: &House) -> Vec<String> {
    let mut wrong = uses_of(house, |path| BARE_SPAWN.contains(&path.join("::").as_str()));
    for (_, file) in rooms(house).filter(|(_, file)| file.handle_spawns > 0 && !file.is_test) {
        wrong.push(format!("{} uses a runtime's spawn", file.module));
    }
    wrong.retain(|line| !line.starts_with(&format!("{TASKS} ")));
    wrong
}

fn uses_of(house: &House, is_wrong: impl Fn(&Names) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in house.files.iter().filter(|file| !file.is_test) {
        let named = file.paths.iter().filter(|(path, is_test)| !is_test && is_wrong(path));
        wrong.extend(named.map(|(path, _)| format!("{} uses {}", file.module, path.join("::"))));
    }
    wrong
}

/// Files can be read in one go, tests too.
pub fn files_are_short(house: &House) -> Vec<String> {
    let long = house.files.iter().filter(|file| file.lines > LONGEST_FILE);
    long.map(|file| format!("{} has more than {LONGEST_FILE} lines", file.module)).collect()
}

/// A function fits on a page.
pub fn functions_are_short(house: &House) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in &house.files {
        let long = file.functions.iter().filter(|(_, lines)| *lines > LONGEST_FUNCTION);
        wrong.extend(long.map(|(name, _)| format!("{} in {}", name, file.module)));
    }
    wrong
}
