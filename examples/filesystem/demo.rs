//! A short demonstration that prints what it does.

use crate::namespace::{Kind, Namespace, Result};

pub fn demo(namespace: &Namespace) -> Result<()> {
    let show = |call: String, outcome: Result<()>| -> Result<()> {
        let told = match outcome {
            Ok(()) => "ok",
            Err(error) => error.errno().ok_or(error)?.name(),
        };
        println!("{call:<52} {told}");
        Ok(())
    };
    let mkdir = |path| show(format!("mkdir {path}"), namespace.mkdir(path));
    let create = |path| show(format!("create {path}"), namespace.create(path));
    let rename = |old, new| show(format!("rename {old} {new}"), namespace.rename(old, new));
    let rmdir = |path| show(format!("rmdir {path}"), namespace.rmdir(path));

    println!("A small tree:");
    ["/src", "/src/io", "/src/io/tests", "/old"].into_iter().try_for_each(mkdir)?;
    ["/src/lib.rs", "/src/io/mod.rs", "/src/io/tests/mod.rs"].into_iter().try_for_each(create)?;
    show("truncate /src/io/mod.rs 4096".to_owned(), namespace.truncate("/src/io/mod.rs", 4096))?;
    tree(namespace)?;

    println!("\nWhat the rules forbid:");
    mkdir("/src/io")?;
    create("/nowhere/file")?;
    create("/src/lib.rs/file")?;
    rmdir("/src/io")?;
    rename("/src", "/src/io/src")?;
    rename("/old", "/src/lib.rs")?;
    rename("/src/lib.rs", "/old")?;
    rename("/old", "/src")?;

    println!("\nA directory moves, with all below, onto an empty one; one commit:");
    let usage = namespace.usage("/src/io")?;
    println!("/src/io holds {} entries, {} bytes of keys and values", usage.entries, usage.bytes);
    rename("/src/io", "/old")?;
    tree(namespace)?;

    println!("\nA directory and a file swap places; one commit:");
    show("exchange /old /src/lib.rs".to_owned(), namespace.exchange("/old", "/src/lib.rs"))?;
    tree(namespace)?;
    show("exchange /src/lib.rs /old".to_owned(), namespace.exchange("/src/lib.rs", "/old"))?;

    println!("\nA second name for a file:");
    show("link /old/mod.rs /src/io.rs".to_owned(), namespace.link("/old/mod.rs", "/src/io.rs"))?;
    show("truncate /src/io.rs 8192".to_owned(), namespace.truncate("/src/io.rs", 8192))?;
    tree(namespace)?;
    println!("all files together: {} bytes", namespace.file_bytes("/")?);
    show("unlink /old/mod.rs".to_owned(), namespace.unlink("/old/mod.rs"))?;
    println!("/src/io.rs: {:?}", namespace.stat("/src/io.rs")?);
    show("stat /old/mod.rs".to_owned(), namespace.stat("/old/mod.rs").map(drop))?;

    let problems = namespace.fsck()?;
    println!("\nThe check of the whole namespace finds {} problems.", problems.len());
    Ok(())
}

/// Prints all names, as listings give them.
fn tree(namespace: &Namespace) -> Result<()> {
    let mut open = vec![(Vec::new(), Kind::Directory)];
    while let Some((path, kind)) = open.pop() {
        let depth = path.iter().filter(|&&byte| byte == b'/').count();
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(&[]);
        let shown = format!("{}{}", "  ".repeat(depth + 1), name.escape_ascii());
        match kind {
            Kind::File => {
                let stat = namespace.stat(&path)?;
                println!("{shown:<24} inode {}, {} bytes, links {}", stat.inode, stat.size, stat.links);
            }
            Kind::Directory => {
                println!("{shown}/");
                let mut entries = namespace.readdir([&path[..], b"/"].concat())?;
                entries.reverse();
                open.extend(entries.into_iter().map(|e| ([&path[..], b"/", &e.name].concat(), e.kind)));
            }
        }
    }
    Ok(())
}
