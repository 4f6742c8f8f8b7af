//! Finds the pages that the binary embeds, and never embeds an empty folder: `$FOREDIAL_WEB_DIST`, else `web/dist` when
//! its stamp says that it was built from the sources at hand, else a build of its own in OUT_DIR. The folder goes to
//! rust-embed as `FOREDIAL_WEB_DIST`. Without the feature `pages` there is nothing to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the page is made from, below `web/`; `web/scripts/sources.mjs` has the same list and the same hash.
const SOURCES: [&str; 9] = [
    "index.html",
    "package-lock.json",
    "package.json",
    "public",
    "scripts",
    "src",
    "svelte.config.js",
    "tsconfig.json",
    "vite.config.ts",
];
const NODE_OLDEST: (u32, u32) = (20, 19);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FOREDIAL_WEB_DIST");
    if env::var_os("CARGO_FEATURE_PAGES").is_none() {
        return;
    }
    match pages() {
        Ok(folder) => println!("cargo:rustc-env=FOREDIAL_WEB_DIST={}", folder.display()),
        Err(why) => {
            eprintln!("\nThe pages could not be built: {why}\n\nThree ways out:");
            eprintln!(
                "  1. install Node.js {}.{} or newer with npm, and build again;",
                NODE_OLDEST.0, NODE_OLDEST.1
            );
            eprintln!(
                "  2. build them elsewhere (cd web && npm ci && npm run build) and set FOREDIAL_WEB_DIST to that web/dist;"
            );
            eprintln!("  3. build a daemon without pages: cargo build --no-default-features.\n");
            std::process::exit(1);
        }
    }
}

fn pages() -> Result<PathBuf, String> {
    if let Some(given) = env::var_os("FOREDIAL_WEB_DIST").filter(|value| !value.is_empty()) {
        let folder = fs::canonicalize(&given)
            .map_err(|e| format!("FOREDIAL_WEB_DIST={}: {e}", given.display()))?;
        println!("cargo:rerun-if-changed={}", folder.display());
        return match folder.join("index.html").is_file() {
            true => Ok(folder),
            false => Err(format!(
                "FOREDIAL_WEB_DIST={} has no index.html",
                folder.display()
            )),
        };
    }
    let web = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web");
    let files = files_of(&web).map_err(|e| format!("reading {}: {e}", web.display()))?;
    for path in &files {
        println!("cargo:rerun-if-changed={}", web.join(path).display());
    }
    let stamp = stamp_of(&web, &files).map_err(|e| format!("reading {}: {e}", web.display()))?;

    let built = web.join("dist");
    if is_current(&built, &stamp) {
        println!("cargo:rerun-if-changed={}", built.join(".stamp").display());
        return Ok(built);
    }
    let own = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("web");
    if !is_current(&own.join("dist"), &stamp) {
        build_in(&own, &web, &files)?;
        if !is_current(&own.join("dist"), &stamp) {
            return Err(format!(
                "npm run build left no current pages in {}",
                own.join("dist").display()
            ));
        }
    }
    Ok(own.join("dist"))
}

fn is_current(dist: &Path, stamp: &str) -> bool {
    dist.join("index.html").is_file()
        && fs::read_to_string(dist.join(".stamp")).is_ok_and(|found| found.trim() == stamp)
}

/// Paths below `web/` with `/` between names, sorted by bytes. Folders are announced to cargo, so that a new file counts.
fn files_of(web: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open: Vec<String> = SOURCES.iter().map(|root| root.to_string()).collect();
    while let Some(path) = open.pop() {
        if path.ends_with(".test.ts") {
            continue;
        }
        if !web.join(&path).is_dir() {
            found.push(path);
            continue;
        }
        println!("cargo:rerun-if-changed={}", web.join(&path).display());
        for entry in fs::read_dir(web.join(&path))? {
            let name = entry?.file_name();
            open.push(format!("{path}/{}", name.to_string_lossy()));
        }
    }
    found.sort();
    Ok(found)
}

/// FNV-1a, 64 bit: it tells changes apart, it guards nothing.
fn stamp_of(web: &Path, files: &[String]) -> io::Result<String> {
    const PRIME: u64 = 0x100_0000_01b3;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        hash = hash.wrapping_mul(PRIME); // a zero byte ends every part
    };
    for path in files {
        add(path.as_bytes());
        add(&fs::read(web.join(path))?);
    }
    Ok(format!("{hash:016x}"))
}

/// The source folder stays as it is: a checkout may be read-only, and two builds may run at once.
fn build_in(own: &Path, web: &Path, files: &[String]) -> Result<(), String> {
    check_node()?;
    for stale in ["src", "public", "scripts", "dist"] {
        match fs::remove_dir_all(own.join(stale)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(format!("clearing {}: {e}", own.display()));
            }
            _ => {}
        }
    }
    for path in files {
        let to = own.join(path);
        let copied = fs::create_dir_all(to.parent().expect("below a folder"))
            .and_then(|()| fs::copy(web.join(path), &to));
        copied.map_err(|e| format!("copying {path}: {e}"))?;
    }
    npm(own, &["ci", "--no-audit", "--no-fund"])?;
    npm(own, &["run", "build"])
}

fn check_node() -> Result<(), String> {
    let output = Command::new("node")
        .arg("--version")
        .output()
        .map_err(|_| "Node.js is not installed".to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let mut numbers = said
        .trim_start_matches('v')
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < NODE_OLDEST {
        return Err(format!("Node.js {said} is too old"));
    }
    Ok(())
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let what = format!("npm {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_remove("NODE_ENV") // "production" would leave the build tools out
        .output()
        .map_err(|e| format!("{what}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{what} failed in {}:\n{}",
        folder.display(),
        String::from_utf8_lossy(&said)
    ))
}
