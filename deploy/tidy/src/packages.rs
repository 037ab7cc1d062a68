//! Which package depends on which.

use crate::Violation;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

/// Processes of their own: they meet over the wire only.
const SERVICES: [&str; 3] = ["account-service", "hub", "chain-worker"];
/// The pure core, and beginnings of names that are not in its tree.
const CORE: &str = "hub-core";
const IMPURE: [&str; 9] = [
    "tokio", "mio", "sqlx", "actix", "redis", "lapin", "hyper", "reqwest", "alloy",
];
/// The one package that may depend on the EVM provider.
const CHAIN: &str = "chain";

/// Packages and what each needs to be built, tests apart.
#[derive(Debug, Clone, Default)]
pub struct Packages {
    /// By name, with their own direct dependencies. Names that occur twice are merged.
    pub needs: BTreeMap<String, BTreeSet<String>>,
    /// Those of this workspace, with their manifests.
    pub ours: BTreeMap<String, String>,
}

/// Reads them from cargo, without the network: of this platform only, because what other platforms
/// need is on no machine that has only built for itself.
///
/// # Errors
/// When cargo can't be run, or says no.
pub fn read(root: &Path) -> io::Result<Packages> {
    let version = cargo(root, &["--version", "--verbose"])?;
    let version = String::from_utf8_lossy(&version);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or_else(|| io::Error::other("cargo does not say what platform it is for"))?;
    let metadata = cargo(
        root,
        &[
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform",
            host,
        ],
    )?;
    let metadata = serde_json::from_slice(&metadata)?;
    parse(&metadata).ok_or_else(|| io::Error::other("cargo metadata has another form"))
}

fn cargo(root: &Path, arguments: &[&str]) -> io::Result<Vec<u8>> {
    let output = Command::new(option_env!("CARGO").unwrap_or("cargo"))
        .args(arguments)
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(message));
    }
    Ok(output.stdout)
}

fn parse(metadata: &Value) -> Option<Packages> {
    let mut names = BTreeMap::new();
    let mut packages = Packages::default();
    let root = metadata["workspace_root"].as_str()?;
    let members = metadata["workspace_members"].as_array()?;
    for package in metadata["packages"].as_array()? {
        let name = package["name"].as_str()?.to_owned();
        if members.contains(&package["id"]) {
            let manifest = package["manifest_path"].as_str()?;
            let manifest = manifest.strip_prefix(root).unwrap_or(manifest);
            packages
                .ours
                .insert(name.clone(), manifest.trim_start_matches('/').to_owned());
        }
        names.insert(package["id"].as_str()?, name);
    }
    for node in metadata["resolve"]["nodes"].as_array()? {
        let name = names.get(node["id"].as_str()?)?;
        let needs = packages.needs.entry(name.clone()).or_default();
        for dependency in node["deps"].as_array()? {
            let kinds = dependency["dep_kinds"].as_array()?;
            if kinds
                .iter()
                .any(|kind| kind["kind"].as_str() != Some("dev"))
            {
                needs.insert(names.get(dependency["pkg"].as_str()?)?.clone());
            }
        }
    }
    Some(packages)
}

impl Packages {
    /// The ways by which a package reaches others: each with the path to it.
    fn tree(&self, from: &str) -> BTreeMap<String, Vec<String>> {
        let mut reached = BTreeMap::from([(from.to_owned(), vec![from.to_owned()])]);
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            let path = reached.get(&name).cloned().unwrap_or_default();
            for next in self.needs.get(&name).into_iter().flatten() {
                if !reached.contains_key(next) {
                    let mut path = path.clone();
                    path.push(next.clone());
                    reached.insert(next.clone(), path);
                    open.push(next.clone());
                }
            }
        }
        reached.remove(from);
        reached
    }

    fn violation(&self, package: &str, message: String) -> Violation {
        let manifest = self.ours.get(package).map_or("Cargo.toml", String::as_str);
        Violation::new(manifest, 1, message)
    }

    /// Services don't depend on each other, the core on no I/O, and one package on the provider.
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for service in SERVICES {
            let tree = self.tree(service);
            for path in SERVICES.iter().filter_map(|other| tree.get(*other)) {
                let message = format!(
                    "{}: services meet over the wire; move what they share into a library",
                    path.join(" -> ")
                );
                found.push(self.violation(service, message));
            }
        }
        for (name, path) in self.tree(CORE) {
            if IMPURE.iter().any(|start| name.starts_with(start)) {
                let message = format!(
                    "{}: the core has no I/O; remove the dependency",
                    path.join(" -> ")
                );
                found.push(self.violation(CORE, message));
            }
        }
        for package in self.ours.keys().filter(|name| *name != CHAIN) {
            let needs = self.needs.get(package).into_iter().flatten();
            for alloy in needs.filter(|name| name.starts_with("alloy")) {
                let message = format!("{package} -> {alloy}: ask package `{CHAIN}` instead");
                found.push(self.violation(package, message));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(needs: &[(&str, &[&str])]) -> Packages {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Packages {
            needs: needs
                .iter()
                .map(|(name, needs)| ((*name).to_owned(), set(needs)))
                .collect(),
            ours: needs
                .iter()
                .map(|(name, _)| ((*name).to_owned(), format!("{name}/Cargo.toml")))
                .collect(),
        }
    }

    fn messages(needs: &[(&str, &[&str])]) -> Vec<String> {
        packages(needs)
            .check()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_service_that_reaches_another_is_found_with_the_way() {
        let found = messages(&[
            ("account-service", &["shared"]),
            ("shared", &["hub"]),
            ("hub", &[]),
        ]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("account-service -> shared -> hub"),
            "{found:?}"
        );
    }

    #[test]
    fn a_core_with_io_in_its_tree_is_found() {
        let found = messages(&[
            ("hub-core", &["k256", "nice"]),
            ("nice", &["tokio-util"]),
            ("k256", &[]),
        ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("hub-core/Cargo.toml:1:"), "{found:?}");
    }

    #[test]
    fn a_second_package_on_the_provider_is_found() {
        let found = messages(&[("chain", &["alloy"]), ("hub", &["alloy-primitives"])]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("hub -> alloy-primitives"), "{found:?}");
    }

    #[test]
    fn what_only_tests_need_does_not_count() {
        let metadata = serde_json::json!({
            "workspace_root": "/w", "workspace_members": ["h"],
            "packages": [
                {"id": "h", "name": "hub", "manifest_path": "/w/hub/Cargo.toml"},
                {"id": "c", "name": "chain-worker", "manifest_path": "/w/chain-worker/Cargo.toml"},
            ],
            "resolve": {"nodes": [
                {"id": "h", "deps": [{"pkg": "c", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "c", "deps": []},
            ]},
        });
        let packages = parse(&metadata).unwrap();
        assert!(packages.check().is_empty());
        assert_eq!(packages.ours["hub"], "hub/Cargo.toml");
    }
}
