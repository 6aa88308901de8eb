//! What `make imager` writes for Raspberry Pi Imager: held to the rules of Imager's own list, and to the files that it names.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::recipes::doc;

/// Validates each document of a list by a schema, with Debian's python3-jsonschema: prints what is wrong with each, or null.
const VALIDATE: &str = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
print(json.dumps([next((error.message for error in validator.iter_errors(one)), None) for one in json.load(sys.stdin)]))";

fn script(name: &str, arguments: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross").join(name);
    Command::new(path).args(arguments).output().expect("run the script")
}

/// The last line that a command prints.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("run it");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What is wrong with each of these documents. `None` where there is no validator, which is said.
fn faults(documents: &[Value]) -> Option<Vec<Option<String>>> {
    // Debian's own Python, which has Debian's packages: another may come first in PATH.
    let python = "/usr/bin/python3";
    let found = Command::new(python).args(["-c", "import jsonschema"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        eprintln!("SKIPPED: there is no JSON Schema validator; install the package python3-jsonschema");
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("documents");
    std::fs::write(&file, serde_json::to_vec(documents).expect("JSON")).expect("write");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imager/os-list.schema.json");
    let mut command = Command::new(python);
    command.args(["-c", VALIDATE]).arg(schema).stdin(std::fs::File::open(file).expect("the documents"));
    let output = command.output().expect("run Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("a verdict on each"))
}

/// A small image, and the manifest that is made of it for this address.
fn manifest(folder: &Path, url: &[&str]) -> Value {
    let image = folder.join("porthole arm64.img");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    std::fs::write(&image, bytes).expect("an image");
    // 2026-03-01, late in the evening: the day is that of UTC wherever it is made.
    printed("touch", &["-d", "@1772407800", image.to_str().expect("UTF-8")]);
    let out = folder.join("served here");
    let arguments = [image.to_str().expect("UTF-8"), out.to_str().expect("UTF-8")];
    let said = script("imager.sh", &[&arguments[..], url].concat());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let path = String::from_utf8(said.stdout).expect("UTF-8");
    assert!(path.trim().ends_with(".rpi-imager-manifest"), "the ending that Imager opens: {path}");
    serde_json::from_slice(&std::fs::read(path.trim()).expect("the manifest")).expect("JSON")
}

#[test]
fn the_manifest_says_of_the_image_what_the_files_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = manifest(dir.path(), &[]);
    let entry = &written["os_list"][0];
    let local = |key: &str| {
        let url = entry[key].as_str().expect("an address");
        url.strip_prefix("file://").expect("of this machine").replace("%20", " ")
    };
    let (image, icon) = (local("url"), local("icon"));
    let raw = dir.path().join("porthole arm64.img");
    let raw = raw.to_str().expect("UTF-8");
    let sum = |path: &str| printed("sha256sum", &[path]).split(' ').next().unwrap_or_default().to_owned();
    let size = |path: &str| std::fs::metadata(path).expect(path).len();
    assert_eq!(entry["extract_size"], size(raw));
    assert_eq!(entry["extract_sha256"], sum(raw).as_str());
    assert_eq!(entry["image_download_size"], size(&image));
    assert_eq!(entry["image_download_sha256"], sum(&image).as_str());
    assert_eq!(entry["release_date"], "2026-03-01");
    assert!(size(&icon) > 0);
    // What Imager unpacks is what was summed.
    let unpacked = printed("sh", &["-c", "xz -dc \"$1\" | sha256sum", "sh", &image]);
    assert_eq!(entry["extract_sha256"], unpacked.split(' ').next().unwrap_or_default());

    // A new image under the same name is compressed anew.
    std::fs::write(raw, "another").expect("an image");
    let said = script("imager.sh", &[raw, dir.path().join("served here").to_str().expect("UTF-8")]);
    assert!(said.status.success());
    assert_eq!(printed("sh", &["-c", "xz -dc \"$1\"", "sh", &image]), "another");
}

#[test]
fn the_manifest_keeps_the_rules_of_imagers_list() {
    let dir = tempfile::tempdir().expect("a folder");
    let served = manifest(dir.path(), &["https://example.org/cards/"]);
    let entry = &served["os_list"][0];
    assert_eq!(entry["url"], "https://example.org/cards/porthole%20arm64.img.xz");
    let local = manifest(dir.path(), &[]);
    // Part of somebody's larger list, it comes without the boards.
    let sublist = json!({ "os_list": served["os_list"] });
    // And what must not pass: each key that is required missing, and values of a wrong kind.
    let broken = |key: &str, value: Value| {
        let mut document = served.clone();
        let entry = document["os_list"][0].as_object_mut().expect("an entry");
        if value.is_null() {
            entry.remove(key)
        } else {
            entry.insert(key.to_owned(), value)
        };
        document
    };
    let required =
        "name description icon url extract_size extract_sha256 image_download_size release_date devices";
    let mut documents = vec![served.clone(), local, sublist];
    let good = documents.len();
    documents.extend(required.split(' ').map(|key| broken(key, Value::Null)));
    documents.push(broken("extract_size", json!("1500")));
    documents.push(broken("init_format", json!("system-d")));
    documents.push(broken("devices", json!([])));
    documents.push(json!({ "os_list": served["os_list"], "other": 1 }));
    let Some(verdicts) = faults(&documents) else { return };
    for (document, verdict) in documents.iter().zip(&verdicts).take(good) {
        assert_eq!(*verdict, None, "{document:#}");
    }
    for (document, verdict) in documents.iter().zip(&verdicts).skip(good) {
        assert!(verdict.is_some(), "this passes: {document:#}");
    }
    // Imager goes on only once a board is chosen, and then shows what names that board.
    let tags: Vec<&Value> = served["imager"]["devices"]
        .as_array()
        .expect("boards")
        .iter()
        .flat_map(|board| board["tags"].as_array().expect("tags"))
        .collect();
    let named: Vec<&Value> = entry["devices"].as_array().expect("devices").iter().collect();
    assert_eq!(tags, named);
}

/// Imager shows its page of settings, and writes them in this form, unless it is told that the image takes none.
#[test]
fn the_manifest_promises_nothing_that_the_image_does_not_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let entry = manifest(dir.path(), &[])["os_list"][0].clone();
    assert_eq!(entry["init_format"], "none");
    let installed = doc("cross/card/packages.txt");
    assert!(!installed.contains("cloud-init"), "with cloud-init on the card it may say so");
    assert!(!doc("cross/card/boot/cmdline.txt").contains("systemd.run"));
    // docs/image.md: which boards the image does not start.
    assert!(!entry["devices"].to_string().contains("pi5"), "{entry:#}");
    assert!(
        entry["description"].as_str().is_some_and(|words| words.contains("Not for the Pi 5")),
        "{entry:#}"
    );
}

#[test]
fn what_is_no_address_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("a folder");
    let (image, out) = (dir.path().join("a.img"), dir.path().join("out"));
    std::fs::write(&image, "image").expect("an image");
    let (image, out) = (image.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    for url in ["SERVER", "https://a b", "https://a\"b", "https://a/\\", "ftp://a/b", "https://a\n  - b"] {
        for said in [script("imager.sh", &[image, out, url]), script("cloud-init.sh", &[out, url, image])] {
            let words = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(!said.status.success() && words.contains("such as https://SERVER/"), "{url:?}: {words}");
        }
        assert!(!Path::new(out).exists(), "{url:?}");
    }
    let said = script("cloud-init.sh", &[out, "https://example.org", "/nowhere/keyring.gpg"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("make repo writes it"));
    assert!(!said.status.success() && !Path::new(out).exists());
}
