//! Packs the files of the dashboard and of the API reference: as they are and compressed, with a digest
//! of all files, which servers put into their paths so that browsers may cache them without limit.
//! Only `index.html` is changed: its paths get the digest.

use std::fs;
use std::io::{self, Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

/// Length of the digest. Eight bytes make an accidental repetition impossible in practice.
const DIGEST_BYTES: usize = 8;

fn main() -> io::Result<()> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));

    let mut files = Vec::new();
    for (folder, prefix) in [("page", ""), ("reference", "docs/")] {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), Path::new(folder), prefix, &mut files)?;
    }
    let vendored = swagger_ui()?;
    files.extend(vendored.iter().cloned());
    // Sorted, because folders list files in no fixed order and the digest depends on it.
    files.sort();
    let mut hash = Sha256::new();
    for (path, bytes) in &files {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let digest = &hash.finalize()[..DIGEST_BYTES];
    let digest = digest.iter().fold(String::new(), |digest, byte| digest + &format!("{byte:02x}"));

    let mut table = "/// Digest of all files.\n".to_owned();
    table += &format!("pub const DIGEST: &str = {digest:?};\n");
    table += "static FILES: &[File] = &[\n";
    for (number, (path, bytes)) in files.iter().enumerate() {
        let mut bytes = bytes.clone();
        if path.ends_with("index.html") {
            let text = String::from_utf8(bytes).map_err(io::Error::other)?;
            bytes = text.replace("\"/assets/", &format!("\"/assets/{digest}/")).into_bytes();
        }
        // Large files that are rarely requested are stored by gzip only.
        let once = vendored.iter().any(|(vendored, _)| vendored == path);
        let gzip = gzipped(&bytes)?;
        let (brotli, plain) = if once { Default::default() } else { (brotlied(&bytes)?, bytes) };
        let forms = [("gzip", gzip), ("brotli", brotli), ("plain", plain)];
        let mut members = vec![format!("path: {path:?}")];
        for (form, bytes) in forms {
            let name = format!("{number}.{form}");
            fs::write(out.join(&name), bytes)?;
            let name = format!("concat!(env!(\"OUT_DIR\"), \"/{name}\")");
            members.push(format!("{form}: include_bytes!({name})"));
        }
        table += &["File { ", &members.join(", "), " },\n"].concat();
    }
    table += "];\n";
    fs::write(out.join("files.rs"), table)
}

/// The files of Swagger UI that the page at `/docs` refers to, from the crate that contains all of it.
fn swagger_ui() -> io::Result<Vec<(String, Vec<u8>)>> {
    let archive = Cursor::new(utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED);
    let mut archive = ZipArchive::new(archive).map_err(io::Error::other)?;
    let mut files = Vec::new();
    for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        let ending = format!("/dist/{name}");
        let path = archive.file_names().find(|path| path.ends_with(&ending)).map(str::to_owned);
        let path = path.ok_or_else(|| io::Error::other(ending))?;
        let mut bytes = Vec::new();
        archive.by_name(&path).map_err(io::Error::other)?.read_to_end(&mut bytes)?;
        files.push((format!("docs/{name}"), bytes));
    }
    Ok(files)
}

/// Collects all files below a folder by their path from `root`, with the prefix.
fn collect(
    root: &Path,
    folder: &Path,
    prefix: &str,
    files: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, prefix, files)?;
            continue;
        }
        let name = path.strip_prefix(root).map_err(io::Error::other)?;
        let name = name.to_str().ok_or_else(|| io::Error::other("a file's name is not UTF-8"))?;
        files.push((format!("{prefix}{name}"), fs::read(&path)?));
    }
    Ok(())
}

fn gzipped(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn brotlied(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &*bytes, &mut compressed, &parameters)?;
    Ok(compressed)
}
