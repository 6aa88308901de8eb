//! The sources, parsed: what each file defines, and which names of which other file it uses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use syn::visit::Visit;
use syn::{Item, Visibility};

use super::reading::{Functions, Uses, Words, attributes, is_for_tests, name_of, names};

/// A path, name by name.
pub type Names = Vec<String>;

/// One file of `src/`.
#[derive(Default)]
pub struct File {
    /// `media::pipeline` for `src/media/pipeline.rs`; empty for `lib.rs`.
    pub module: String,
    pub lines: usize,
    /// Whether it is there for tests alone.
    pub is_test: bool,
    /// Paths it names, as absolute as its own imports make them: (path, in a test).
    pub paths: BTreeSet<(Names, bool)>,
    /// Re-exports of what is below it, which are no use of it: (path, the name it gets).
    reexports: BTreeSet<(Names, String)>,
    /// Every word of its code outside `use`, for re-exports that it uses itself.
    words: BTreeSet<String>,
    /// Types that others can name.
    pub public_types: BTreeSet<String>,
    pub types: BTreeSet<String>,
    pub traits: BTreeSet<String>,
    /// Blocks of methods: (the type's path, the trait's path if any).
    pub impls: Vec<(Names, Option<Names>)>,
    /// (name, lines that are neither blank nor comment).
    pub functions: Vec<(String, usize)>,
    pub unsafes: usize,
    /// `.spawn(…)` on what calls itself a handle.
    pub handle_spawns: usize,
}

/// A module, a file or a part of one.
#[derive(Default)]
struct Module {
    file: usize,
    defined: BTreeSet<String>,
    /// What `use` brings in: the name here, and the path it stands for.
    bound: HashMap<String, Names>,
    globs: Vec<Names>,
}

#[derive(Default)]
pub struct House {
    pub files: Vec<File>,
    modules: BTreeMap<Names, Module>,
}

impl House {
    /// Reads everything below `src/`.
    pub fn of_the_crate() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root.clone()];
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of src") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).expect("UTF-8");
                    let name = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8");
                    sources.push((name.to_owned(), text));
                }
            }
        }
        assert!(sources.len() > 30, "these are not our sources");
        let sources: Vec<_> = sources.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Self::of(&sources)
    }

    /// Reads these: (path below `src/`, text).
    pub fn of(sources: &[(&str, &str)]) -> Self {
        let mut sources = sources.to_vec();
        // A folder's own file says which of the others are tests.
        sources.sort_by_key(|(name, _)| (name.matches('/').count(), !name.ends_with("mod.rs"), *name));
        let mut parsed: Vec<_> = sources
            .iter()
            .map(|(name, text)| {
                let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
                (module_of(name), syntax, *text)
            })
            .collect();
        let tests: BTreeMap<Names, Names> =
            parsed.iter().flat_map(|(module, syntax, _)| test_files(module, syntax)).collect();
        for (module, ..) in &mut parsed {
            if let Some(inside) = tests.get(module) {
                module.clone_from(inside);
            }
        }
        let mut house = Self::default();
        for (file, (module, syntax, text)) in parsed.iter().enumerate() {
            let is_test = tests.values().any(|test| module.starts_with(test));
            house.files.push(File {
                module: module.join("::"),
                lines: text.lines().count(),
                is_test,
                ..File::default()
            });
            house.bind(file, module, &syntax.items);
            house.bind(file, module, &syntax.items);
        }
        for (file, (module, syntax, text)) in parsed.iter().enumerate() {
            let is_test = house.files[file].is_test;
            house.read(file, module, &syntax.items, is_test);
            house.measure(file, syntax, text);
        }
        house
    }

    /// What the items of a module define and import.
    fn bind(&mut self, file: usize, at: &[String], items: &[Item]) {
        let mut module = Module { file, ..Module::default() };
        let mut uses = Uses::default();
        for item in items {
            uses.visit_item(item);
            if let Item::Mod(inner) = item
                && let Some((_, items)) = &inner.content
            {
                let mut at = at.to_vec();
                at.push(inner.ident.to_string());
                self.bind(file, &at, items);
            }
            module.defined.extend(name_of(item));
        }
        for import in uses.found {
            let path = if module.defined.contains(&import.path[0]) {
                absolute(at, &[&["self".to_owned()], &import.path[..]].concat())
            } else {
                absolute(at, &import.path)
            };
            if import.is_glob {
                module.globs.push(path);
            } else {
                module.bound.insert(import.name, path);
            }
        }
        self.modules.insert(at.to_vec(), module);
    }

    /// Which paths the items of a module name.
    fn read(&mut self, file: usize, at: &[String], items: &[Item], is_test: bool) {
        for item in items {
            let is_test = is_test || is_for_tests(attributes(item));
            if let Item::Mod(inner) = item {
                if let Some((_, items)) = &inner.content {
                    let mut at = at.to_vec();
                    at.push(inner.ident.to_string());
                    self.read(file, &at, items, is_test);
                }
                continue;
            }
            let mut uses = Uses::default();
            uses.visit_item(item);
            for import in uses.found {
                let path = self.seen_from(at, &import.path);
                let is_below = import.is_public && path.len() > at.len() && path.starts_with(at);
                if is_below {
                    self.files[file].reexports.insert((path, import.name));
                } else {
                    self.files[file].paths.insert((path, is_test));
                }
            }
            if matches!(item, Item::Use(_)) {
                continue;
            }
            let mut words = Words::default();
            words.read(quote::ToTokens::to_token_stream(item));
            for path in words.paths {
                let path = self.seen_from(at, &path);
                self.files[file].paths.insert((path, is_test));
            }
            let here = &mut self.files[file];
            here.words.extend(words.found);
            here.unsafes += words.unsafes;
            here.handle_spawns += if is_test { 0 } else { words.handle_spawns };
            if !is_test {
                self.define(file, at, item);
            }
        }
    }

    fn define(&mut self, file: usize, at: &[String], item: &Item) {
        if let Item::Impl(block) = item
            && let syn::Type::Path(own) = &*block.self_ty
        {
            let own = self.seen_from(at, &names(&own.path));
            let of = block.trait_.as_ref().map(|(_, path, _)| self.seen_from(at, &names(path)));
            self.files[file].impls.push((own, of));
        }
        let (name, visibility) = match item {
            Item::Struct(item) => (&item.ident, &item.vis),
            Item::Enum(item) => (&item.ident, &item.vis),
            Item::Union(item) => (&item.ident, &item.vis),
            Item::Type(item) => (&item.ident, &item.vis),
            Item::Trait(item) => (&item.ident, &item.vis),
            _ => return,
        };
        let here = &mut self.files[file];
        let kind = if matches!(item, Item::Trait(_)) { &mut here.traits } else { &mut here.types };
        kind.insert(name.to_string());
        if !matches!(visibility, Visibility::Inherited) {
            here.public_types.insert(name.to_string());
        }
    }

    /// A path of a module's code, with its first name replaced by what the module's imports say it is.
    fn seen_from(&self, at: &[String], path: &[String]) -> Names {
        if matches!(path[0].as_str(), "crate" | "self" | "super") {
            return absolute(at, path);
        }
        let Some(module) = self.modules.get(at) else { return path.to_vec() };
        if let Some(bound) = module.bound.get(&path[0]) {
            return bound.iter().chain(&path[1..]).cloned().collect();
        }
        if module.defined.contains(&path[0]) {
            return absolute(at, &[&["self".to_owned()], path].concat());
        }
        for glob in &module.globs {
            if glob.first().is_some_and(|first| first == "crate")
                && self.modules.get(&glob[1..]).is_some_and(|other| {
                    other.defined.contains(&path[0]) || other.bound.contains_key(&path[0])
                })
            {
                return glob.iter().chain(path).cloned().collect();
            }
        }
        path.to_vec()
    }

    /// The file that defines what a path names, through re-exports; none for what is not ours.
    pub fn home_of(&self, path: &[String]) -> Option<usize> {
        self.find(path, 8)
    }

    fn find(&self, path: &[String], depth: usize) -> Option<usize> {
        let ours = path.strip_prefix(&["crate".to_owned()])?;
        let known = (0..=ours.len()).rev().find(|end| self.modules.contains_key(&ours[..*end]))?;
        let (module, rest) = (&self.modules[&ours[..known]], &ours[known..]);
        let Some(name) = rest.first() else { return Some(module.file) };
        if depth == 0 || module.defined.contains(name) {
            return Some(module.file);
        }
        if let Some(bound) = module.bound.get(name) {
            let whole: Names = bound.iter().chain(&rest[1..]).cloned().collect();
            return self.find(&whole, depth - 1);
        }
        let through = module.globs.iter().find_map(|glob| {
            let whole: Names = glob.iter().chain(rest).cloned().collect();
            let other = self.modules.get(glob.get(1..)?)?;
            (other.defined.contains(name) || other.bound.contains_key(name))
                .then(|| self.find(&whole, depth - 1))?
        });
        through.or(Some(module.file))
    }

    /// The files that a file uses, with one path for each: (the other, path, in tests alone).
    pub fn arrows(&self, file: usize) -> Vec<(usize, String, bool)> {
        let mut found: BTreeMap<usize, (String, bool)> = BTreeMap::new();
        let here = &self.files[file];
        let own = here.reexports.iter().filter(|(_, name)| here.words.contains(name));
        let paths = here.paths.iter().map(|(path, is_test)| (path, *is_test));
        for (path, is_test) in paths.chain(own.map(|(path, _)| (path, here.is_test))) {
            if let Some(other) = self.home_of(path).filter(|other| *other != file) {
                let entry = found.entry(other).or_insert_with(|| (path[1..].join("::"), true));
                if entry.1 && !is_test {
                    *entry = (path[1..].join("::"), false);
                }
            }
        }
        found.into_iter().map(|(other, (path, is_test))| (other, path, is_test)).collect()
    }

    fn measure(&mut self, file: usize, syntax: &syn::File, text: &str) {
        if self.files[file].is_test {
            return;
        }
        let mut functions = Functions { lines: text.lines().collect(), found: Vec::new() };
        functions.visit_file(syntax);
        self.files[file].functions = functions.found;
    }
}

fn module_of(name: &str) -> Names {
    let name = name.trim_end_matches(".rs");
    let name = name.strip_suffix("/mod").unwrap_or(name);
    if name == "lib" { Vec::new() } else { name.split('/').map(str::to_owned).collect() }
}

/// What `#[path = "…"]` says.
fn path_of(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(file), .. }) = &pair.value else { return None };
    pair.path.is_ident("path").then(|| file.value())
}

/// The modules that a file declares for tests only: (by the name of the file, by its place in the crate). They differ
/// for `#[path = "x_tests.rs"] mod tests;`, which lies beside `x.rs` and is inside of it.
fn test_files(at: &[String], syntax: &syn::File) -> Vec<(Names, Names)> {
    let mut found = Vec::new();
    for item in &syntax.items {
        if let Item::Mod(inner) = item
            && inner.content.is_none()
            && is_for_tests(&inner.attrs)
        {
            let mut inside = at.to_vec();
            inside.push(inner.ident.to_string());
            let mut beside = inside.clone();
            if let Some(file) = inner.attrs.iter().find_map(path_of) {
                beside.truncate(at.len().saturating_sub(1));
                beside.push(file.trim_end_matches(".rs").to_owned());
            }
            found.push((beside, inside));
        }
    }
    found
}

/// `self::` and `super::` taken out; what begins with neither, nor with `crate`, is as it was.
fn absolute(at: &[String], path: &[String]) -> Names {
    let mut base = match path[0].as_str() {
        "self" | "super" => at.to_vec(),
        _ => return path.to_vec(),
    };
    let mut rest = path;
    while let Some(first) = rest.first() {
        match first.as_str() {
            "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = &rest[1..];
    }
    ["crate".to_owned()].into_iter().chain(base).chain(rest.iter().cloned()).collect()
}
