//! A migration that is added has to be compiled in.

fn main() {
    println!("cargo::rerun-if-changed=sql");
}
