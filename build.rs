//! Rebuilds when the viewer page was bundled anew: its files are embedded in the binary.

fn main() {
    println!("cargo:rerun-if-changed=viewer/dist");
    println!("cargo:rerun-if-changed=build.rs");
}
