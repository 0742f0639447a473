//! Each engine does the same random operations as a `BTreeMap` and gives the same answers; and one that does not is found out.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use ramus_compare::engine::{Engine, Records, See, Session, Setup, Value, end_of, name_in};
use ramus_compare::engines::Kind;
use ramus_compare::model::value_of;
use ramus_compare::options::Args;
use ramus_compare::random::Random;
use ramus_compare::results::Results;
use ramus_compare::rows::by_name;
use ramus_compare::work::{self, Run};
use ramus_compare::world::World;

type Map = BTreeMap<Vec<u8>, Value>;

fn path(random: &mut Random) -> Vec<u8> {
    let mut path = format!("d{}", random.below(4));
    for _ in 0..random.below(4) {
        path += &format!("/e{}", random.below(5));
    }
    (path + &format!("/f{}", random.below(40))).into_bytes()
}

fn below(map: &Map, prefix: &[u8]) -> Vec<(Vec<u8>, Value)> {
    map.range(prefix.to_vec()..end_of(prefix)).map(|(key, value)| (key.clone(), *value)).collect()
}

fn names(map: &Map, prefix: &[u8]) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> =
        below(map, prefix).iter().map(|(key, _)| name_in(prefix, key).0.to_vec()).collect();
    names.dedup();
    names
}

/// A change of both, or an error that both give.
fn change(random: &mut Random, map: &mut Map, session: &mut dyn Session, step: u32) -> Result<()> {
    let (one, other) = (path(random), path(random));
    match random.below(100) {
        0..60 => {
            let value = value_of(&one, step);
            session.put(&one, &value)?;
            map.insert(one, value);
        }
        60..75 => {
            session.delete(&one)?;
            map.remove(&one);
        }
        75..95 => {
            let fine = map.contains_key(&one) && !map.contains_key(&other);
            assert_eq!(session.rename(&one, &other).is_ok(), fine);
            if fine && let Some(value) = map.remove(&one) {
                map.insert(other, value);
            }
        }
        95..97 => {
            let dir = format!("d{}/e{}/", random.below(4), random.below(5)).into_bytes();
            session.delete_dir(&dir)?;
            below(map, &dir).iter().for_each(|(key, _)| _ = map.remove(key));
        }
        _ => {
            let dir = format!("d{}/e{}/", random.below(4), random.below(5)).into_bytes();
            let target = format!("moved/{step}/").into_bytes();
            let moved = below(map, &dir);
            if moved.is_empty() {
                return Ok(());
            }
            session.rename_dir(&dir, &target)?;
            for (key, value) in moved {
                map.remove(&key);
                map.insert([&target, &key[dir.len()..]].concat(), value);
            }
        }
    }
    Ok(())
}

fn compare(random: &mut Random, map: &Map, session: &mut dyn Session) -> Result<()> {
    let key = path(random);
    let mut got = None;
    assert_eq!(session.get(&key, &mut |value| got = Some(value.to_vec()))?, map.contains_key(&key));
    assert_eq!(got.as_deref(), map.get(&key).map(|value| &value[..]));
    assert_eq!(session.get_owned(&key)?, got);
    let prefixes = [b"d1/".to_vec(), b"d2/e3/".to_vec(), b"moved/".to_vec(), b"none/".to_vec()];
    let prefix = &prefixes[random.below(prefixes.len())];
    assert_eq!(session.count(prefix)?, below(map, prefix).len() as u64);
    for limit in [1, 3, 1000] {
        let mut listed = Vec::new();
        session.list_dir(prefix, limit, &mut |name| listed.push(name.to_vec()))?;
        assert_eq!(listed, names(map, prefix).into_iter().take(limit).collect::<Vec<_>>());
        let after = [prefix, &key[..]].concat();
        let mut records = Vec::new();
        session.list_after(prefix, &after, limit, &mut |key, value| {
            records.push((key.to_vec(), value.to_vec()))
        })?;
        let right = map.range((Excluded(after), Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        let right: Vec<(Vec<u8>, Vec<u8>)> =
            right.take(limit).map(|(key, value)| (key.clone(), value.to_vec())).collect();
        assert_eq!(records, right);
    }
    for asked in [key.clone(), [&key[..], b"/more"].concat()] {
        let mut found = None;
        session.longest_prefix(&asked, &mut |key, value| found = Some((key.to_vec(), value.to_vec())))?;
        let right = map.iter().filter(|(key, _)| asked.starts_with(key)).max_by_key(|(key, _)| key.len());
        assert_eq!(found, right.map(|(key, value)| (key.clone(), value.to_vec())));
    }
    Ok(())
}

fn conforms(kind: Kind) {
    let run = || -> Result<()> {
        let dir = tempfile::tempdir()?;
        let setup = Setup::new(&dir.path().join("db"), 64 << 20);
        for sorted in [false, true] {
            let _ = std::fs::remove_dir_all(&setup.dir);
            let mut random = Random::new(7);
            let mut loaded: Vec<Vec<u8>> = (0..300).map(|_| path(&mut random)).collect();
            loaded.sort();
            loaded.dedup();
            if !sorted {
                random.shuffle(&mut loaded);
            }
            let mut map: Map = loaded.iter().map(|key| (key.clone(), value_of(key, 0))).collect();
            let engine = kind.open(&setup)?;
            engine.load(&mut loaded.iter().map(|key| (&key[..], value_of(key, 0))), sorted)?;
            engine.settle()?;
            let mut session = engine.session()?;
            for step in 0..1500 {
                change(&mut random, &mut map, session.as_mut(), step)?;
                session.refresh()?;
                compare(&mut random, &map, session.as_mut())?;
            }
            drop(session);
            engine.quiet()?;
            engine.hand_over()?;
            engine.close()?;
            if !kind.is_limit() {
                let mut engine = kind.open(&setup)?;
                assert_eq!(engine.session()?.count(b"")?, map.len() as u64);
                let elsewhere = engine.compact()?;
                assert!(elsewhere.is_none_or(|dir| dir.exists()));
                compare(&mut random, &map, engine.session()?.as_mut())?;
                engine.close()?;
            }
        }
        Ok(())
    };
    if let Err(error) = run() {
        panic!("{kind}: {error:#}");
    }
}

macro_rules! conforming {
    ($($name:ident: $kind:expr;)*) => {$(
        #[test]
        fn $name() {
            conforms($kind);
        }
    )*};
}

conforming! {
    ramus: Kind::Ramus;
    holt: Kind::Holt;
    rocksdb: Kind::Rocksdb;
    lmdb: Kind::Lmdb;
    redb: Kind::Redb;
    fjall: Kind::Fjall;
    sqlite: Kind::Sqlite;
    btreemap: Kind::Btreemap;
    blart: Kind::Blart;
}

/// An engine whose listings of directories leave out the second name.
struct Forgetful(Box<dyn Engine>);

struct ForgetfulSession<'e>(Box<dyn Session + 'e>);

impl Engine for Forgetful {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(ForgetfulSession(self.0.session()?)))
    }
    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()> {
        self.0.load(records, sorted)
    }
    fn settle(&self) -> Result<()> {
        self.0.settle()
    }
    fn hand_over(&self) -> Result<()> {
        self.0.hand_over()
    }
    fn compact(&mut self) -> Result<Option<PathBuf>> {
        self.0.compact()
    }
    fn close(self: Box<Self>) -> Result<()> {
        self.0.close()
    }
}

impl Session for ForgetfulSession<'_> {
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.0.get(key, see)
    }
    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        self.0.list_after(prefix, after, limit, see)
    }
    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut at = 0;
        self.0.list_dir(prefix, limit, &mut |name| {
            at += 1;
            if at != 2 {
                see(name);
            }
        })
    }
    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        self.0.longest_prefix(key, see)
    }
    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        self.0.count(prefix)
    }
    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.0.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.0.delete(key)
    }
    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.0.rename(src, dst)
    }
    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        self.0.rename_dir(src, dst)
    }
    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        self.0.delete_dir(prefix)
    }
}

#[test]
fn an_engine_that_omits_names_is_shown_as_wrong() {
    let mut random = Random::new(3);
    let mut paths: Vec<Vec<u8>> = (0..5000).map(|_| path(&mut random)).collect();
    paths.extend((0..4000).map(|at| format!("d9/{}/{at}", at % 13).into_bytes()));
    paths.sort();
    paths.dedup();
    let world = World::new(paths, 3000).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(&dir.path().join("db"), 64 << 20);
    let honest = work::load::loaded(Kind::Btreemap, &setup, &world, true).unwrap().0;
    let inner = work::load::loaded(Kind::Ramus, &setup, &world, true).unwrap().0;
    let fleet: work::Fleet =
        vec![(Kind::Btreemap, honest), (Kind::Ramus, Box::new(Forgetful(inner)) as Box<dyn Engine>)];
    let args = Args::parse_from(["ramus-compare"]);
    let mut run = Run {
        args: &args,
        kinds: vec![Kind::Ramus, Kind::Btreemap],
        world: &world,
        dir: dir.path().to_owned(),
        results: Results::default(),
        bar: indicatif::ProgressBar::hidden(),
        report: &|_| {},
    };
    for workload in work::listings::WORKLOADS.iter().chain(&work::points::WORKLOADS) {
        run.interleave(&fleet, workload);
    }
    for row in run.results.rows() {
        let wrong = run.results.wrong(row, Some(Kind::Ramus));
        assert_eq!(wrong.is_some(), row.name == "list-dir", "{}", row.name);
        assert_eq!(run.results.wrong(row, Some(Kind::Btreemap)), None, "{}", row.name);
    }
    assert!(run.results.wrong(by_name("list-dir"), Some(Kind::Ramus)).unwrap() > 0.5);
    assert!(run.results.verdicts(by_name("list-dir")).iter().all(|verdict| !verdict.met));
}
