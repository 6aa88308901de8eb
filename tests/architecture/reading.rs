//! What is read out of Rust's syntax: imports, paths, lengths.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, ImplItem, Item, UseTree, Visibility};

use super::house::Names;

pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        syn::Meta::Path(path) => path.segments.last().is_some_and(|last| last.ident == "test"),
        syn::Meta::NameValue(_) => false,
    })
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

pub fn names(path: &syn::Path) -> Names {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// One leaf of a `use`.
pub struct Import {
    pub path: Names,
    pub name: String,
    pub is_glob: bool,
    pub is_public: bool,
}

/// Every `use`, also inside functions, but not inside modules.
#[derive(Default)]
pub struct Uses {
    pub found: Vec<Import>,
}

impl Uses {
    fn leaves(&mut self, before: &[String], tree: &UseTree, is_public: bool) {
        let mut path = before.to_vec();
        let mut leaf = |path: Names, name: String, is_glob| {
            self.found.push(Import { path, name, is_glob, is_public });
        };
        match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                self.leaves(&path, &tree.tree, is_public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.leaves(before, tree, is_public);
                }
            }
            UseTree::Glob(_) => leaf(path, String::new(), true),
            UseTree::Name(tree) if tree.ident == "self" => {
                let name = path.last().cloned().unwrap_or_default();
                leaf(path, name, false);
            }
            UseTree::Name(tree) => {
                path.push(tree.ident.to_string());
                leaf(path, tree.ident.to_string(), false);
            }
            UseTree::Rename(tree) => {
                if tree.ident != "self" {
                    path.push(tree.ident.to_string());
                }
                leaf(path, tree.rename.to_string(), false);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.leaves(&[], &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

/// Paths in code, those inside macros too.
#[derive(Default)]
pub struct Words {
    pub paths: Vec<Names>,
    pub found: BTreeSet<String>,
    pub unsafes: usize,
    pub handle_spawns: usize,
}

impl Words {
    pub fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_punct = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
        let is_colons = |at: usize| is_punct(at, ':') && is_punct(at + 1, ':');
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                // Who may see something is no import.
                TokenTree::Ident(word) if word == "pub" => {
                    let scope = matches!(tokens.get(at + 1), Some(TokenTree::Group(group))
                        if group.delimiter() == Delimiter::Parenthesis && group.stream().to_string().starts_with("in "));
                    at += if scope { 2 } else { 1 };
                }
                // Read by `Uses`; what a bound captures is written `use<…>`.
                TokenTree::Ident(word) if word == "use" && !is_punct(at + 1, '<') => {
                    while at < tokens.len() && !is_punct(at, ';') {
                        at += 1;
                    }
                }
                TokenTree::Ident(word) => {
                    self.found.insert(word.to_string());
                    self.unsafes += usize::from(word == "unsafe");
                    let mut path = vec![word.to_string()];
                    at += 1;
                    while is_colons(at)
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
                    {
                        self.found.insert(next.to_string());
                        path.push(next.to_string());
                        at += 3;
                    }
                    if path.len() > 1 {
                        self.paths.push(path.clone());
                    }
                    self.handle_spawns += usize::from(starts_on_a_handle(&path, &tokens[at..]));
                }
                TokenTree::Group(group) => {
                    self.read(group.stream());
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }
}

/// `handle.spawn(…)`, `Handle::current().spawn(…)`, `media.handle().spawn(…)`, `runtime.spawn(…)`.
fn starts_on_a_handle(path: &[String], after: &[TokenTree]) -> bool {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let is_handle = matches!(last, "handle" | "runtime") || path.iter().any(|name| name == "Handle");
    let after = match after.first() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => &after[1..],
        _ => after,
    };
    let spawns = matches!(after, [TokenTree::Punct(dot), TokenTree::Ident(method), TokenTree::Group(_), ..]
        if dot.as_char() == '.' && (method == "spawn" || method == "spawn_local"));
    is_handle && spawns
}

/// The lengths of functions and methods, tests left out.
pub struct Functions<'text> {
    pub lines: Vec<&'text str>,
    pub found: Vec<(String, usize)>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.fn_token.span.start().line, block.brace_token.span.close().end().line);
        let code = self.lines[first - 1..last].iter().map(|line| line.trim());
        let lines = code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        self.found.push((signature.ident.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.add(&item.sig, &item.block);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(item) = item {
            self.add(&item.sig, &item.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }
}
