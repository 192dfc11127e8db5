//! Links the unwinder into the binary. Rust asks for the shared `libgcc_s` on GNU systems whatever `-static-libgcc` says; `link/libgcc_s.so` is a linker
//! script that answers with the static one.

fn main() {
    println!("cargo:rerun-if-changed=link/libgcc_s.so");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
        println!("cargo:rustc-link-search=native={folder}/link");
    }
}
