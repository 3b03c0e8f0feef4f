//! No two source files of a crate import each other, directly or through others. Where modules are listed in order of
//! dependency, none imports a later one. `mod child;` and a re-export `pub use child::Name;` are not imports.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

/// The path of a module, such as `["config", "account"]`; the root of a crate is empty.
type Name = Vec<String>;

#[derive(Default)]
struct Module {
    is_ordered: bool,
    children: Vec<String>,
    /// The paths in the code outside `use`, including those of one word.
    paths: BTreeSet<Name>,
    /// The names that `use` introduces, each with its path and with whether it is re-exported.
    aliases: BTreeMap<String, (Name, bool)>,
}

/// Returns the tokens of the code without comments and literals; every bracket is returned as a brace.
fn words(tokens: TokenStream) -> Vec<String> {
    let words_of = |token| match token {
        TokenTree::Group(group) => [vec!["{".into()], words(group.stream()), vec!["}".into()]].concat(),
        TokenTree::Literal(_) => Vec::new(),
        token => vec![token.to_string()],
    };
    tokens.into_iter().flat_map(words_of).collect()
}

fn read(text: &str) -> Module {
    // The words may be on two lines of a comment.
    let prose = text.replace("//!", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut module = Module { is_ordered: prose.contains("in order of dependency"), ..Module::default() };
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let words = [vec![String::new(); 4], words(code.parse().unwrap())].concat();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|found| found == word);
    // For each open `{`, the part of the path before it.
    let (mut prefixes, mut path, mut is_use, mut is_public) = (vec![vec![]], vec![], false, false);
    for (at, word) in
        words.iter().enumerate().skip(4).filter(|(_, word)| ![":", ","].contains(&word.as_str()))
    {
        let [is_part, is_prefix] = [at - 2, at + 1].map(|at| is(at, ":") && is(at + 1, ":"));
        match word.as_str() {
            "{" => prefixes.push(if is_part { path.clone() } else { vec![] }),
            "}" => drop(prefixes.pop()),
            ";" => is_use = false,
            "use" => (is_use, is_public) = (true, is(at - 1, "pub") || is(at - 1, "}") && is(at - 4, "pub")),
            "mod" if is(at + 2, ";") => module.children.push(words[at + 1].clone()),
            word => {
                let before = if is_part { path } else { prefixes.last().unwrap().clone() };
                path = [before, vec![word.to_owned()]].concat();
                if is_use && !is_prefix {
                    let name = path.iter().rfind(|word| *word != "self").unwrap().clone();
                    module.aliases.insert(name, (path.clone(), is_public));
                } else if !is_prefix && !is(at - 1, ".") {
                    module.paths.insert(path.clone());
                }
            }
        }
    }
    module
}

fn load(source: &Path, name: &[String], modules: &mut BTreeMap<Name, Module>) {
    let path = name.iter().fold(source.to_owned(), |path, part| path.join(part));
    let files = [path.join("lib.rs"), path.join("mod.rs"), path.with_extension("rs")];
    let module = read(&fs::read_to_string(files.iter().find(|file| file.exists()).unwrap()).unwrap());
    let is_test = |child: &&String| ["tests", "testkit", "invariants", "seeds"].contains(&child.as_str());
    for child in module.children.iter().filter(|child| !is_test(child)) {
        load(source, &[name, std::slice::from_ref(child)].concat(), modules);
    }
    modules.insert(name.to_vec(), module);
}

/// Returns the module that a path in the module `from` refers to, also through re-exports; `None` for other crates.
fn resolve(modules: &BTreeMap<Name, Module>, from: &[String], path: &[String], depth: u8) -> Option<Name> {
    let mut module = from.to_vec();
    for (at, part) in path.iter().enumerate().filter(|(_, part)| *part != "self") {
        let child = [&module[..], std::slice::from_ref(part)].concat();
        match (part.as_str(), modules[&module].aliases.get(part)) {
            ("crate", _) => module.clear(),
            ("super", _) => drop(module.pop()),
            _ if modules.contains_key(&child) => module = child,
            (_, Some((alias, _))) if depth > 0 => {
                let path = [&alias[..], &path[at + 1..]].concat();
                return resolve(modules, &module, &path, depth - 1).or((at > 0).then_some(module));
            }
            _ => return (at > 0).then_some(module),
        }
    }
    Some(module)
}

fn leads<'a>(
    imports: &'a BTreeSet<(Name, Name)>,
    from: &Name,
    to: &Name,
    seen: &mut BTreeSet<&'a Name>,
) -> bool {
    let next = imports.iter().filter(|(name, _)| name == from);
    next.map(|(_, next)| next).any(|next| next == to || (seen.insert(next) && leads(imports, next, to, seen)))
}

/// Returns the imports that are part of a circle, or that name a later module where modules are listed in order.
fn findings(source: &Path) -> Vec<String> {
    let (mut modules, mut imports) = (BTreeMap::new(), BTreeSet::new());
    load(source, &[], &mut modules);
    for (name, module) in &modules {
        let is_used = |alias: &String| module.paths.iter().any(|path| path[0] == *alias);
        let uses = module.aliases.iter().filter(|(alias, (_, is_public))| !is_public || is_used(alias));
        let paths = uses.map(|(_, (path, _))| path).chain(module.paths.iter().filter(|path| path.len() > 1));
        imports.extend(paths.filter_map(|path| Some((name.clone(), resolve(&modules, name, path, 8)?))));
    }
    imports.retain(|(from, to)| from != to);
    assert!(imports.len() > modules.len() / 2, "only {} imports in {} modules", imports.len(), modules.len());
    let is_wrong = |(from, to): &&(Name, Name)| {
        let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        let parent = &modules[&from[..common]];
        let place = |name: &Name| parent.children.iter().position(|child| Some(child) == name.get(common));
        let is_upwards = parent.is_ordered && place(from).zip(place(to)).is_some_and(|(from, to)| from < to);
        is_upwards || leads(&imports, to, from, &mut BTreeSet::new())
    };
    imports
        .iter()
        .filter(is_wrong)
        .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
        .collect()
}

#[test]
fn no_crate_has_a_circle_of_imports_or_an_import_upwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for path in crates.chain([root.to_owned()]) {
        assert_eq!(findings(&path.join("src")), [""; 0], "{}", path.display());
    }
}

#[test]
fn circles_of_imports_and_imports_upwards_are_found() {
    let source = tempfile::tempdir().unwrap();
    let write = |file, text| fs::write(source.path().join(file), text).unwrap();
    write("lib.rs", "//! The modules stand in order of\n//! dependency.\nmod a;\npub mod b;\nmod c;");
    write("a.rs", "use crate::c::{self, Inner};\n#[cfg(test)]\nmod tests {\n use crate::missing::X; }");
    write("b.rs", "pub struct Inner(super::c::Shared);");
    write("c.rs", "pub(crate) use super::b::Inner;\nfn f() { crate::b::g() }\nstruct Shared;");
    assert_eq!(findings(source.path()), ["a -> b", "a -> c", "b -> c", "c -> b"]);
}
