//! Files of the dashboard and of the API reference, packed for a server: as they are and compressed.
//!
//! The server crate does not depend on this one. The program passes [`DIGEST`] and [`find`] to it, so
//! that an edit of a style sheet does not rebuild the server.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

// `DIGEST` and `FILES`, written by build.rs.
include!(concat!(env!("OUT_DIR"), "/files.rs"));

struct File {
    /// Path in `page/`, such as `view/grid.js`. Paths of the API reference begin with `docs/`.
    path: &'static str,
    /// Empty for large files, as is `brotli`: they are stored by gzip only.
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// Returns the file at `path` in a content coding: `br`, `gzip` or `identity`. Every file is available
/// by `gzip` and `identity`.
#[must_use]
pub fn find(path: &str, coding: &str) -> Option<&'static [u8]> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let bytes = match coding {
        "br" => file.brotli,
        "gzip" => file.gzip,
        "identity" if file.plain.is_empty() => UNPACKED.get(path)?,
        "identity" => file.plain,
        _ => return None,
    };
    (!bytes.is_empty()).then_some(bytes)
}

/// Large files, unpacked when a client that accepts no compression first requests one.
static UNPACKED: LazyLock<HashMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let packed = FILES.iter().filter(|file| file.plain.is_empty());
    let unpack = |file: &File| {
        let mut bytes = Vec::new();
        GzDecoder::new(file.gzip).read_to_end(&mut bytes).expect("build.rs packed it");
        (file.path, bytes)
    };
    packed.map(unpack).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_available_compressed_and_plain() {
        for file in FILES {
            let mut unpacked = Vec::new();
            let gzip = find(file.path, "gzip").unwrap();
            GzDecoder::new(gzip).read_to_end(&mut unpacked).unwrap();
            assert_eq!(find(file.path, "identity").unwrap(), unpacked, "{}", file.path);
            assert_eq!(find(file.path, "deflate"), None);
        }
        assert_eq!(find("no-such-file.js", "identity"), None);
    }

    #[test]
    fn every_file_has_a_suffix_that_servers_know() {
        for File { path, .. } in FILES {
            let (_, suffix) = path.rsplit_once('.').unwrap();
            assert!(["html", "css", "js", "json", "svg"].contains(&suffix), "{path}");
        }
    }
}
