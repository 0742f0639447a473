//! Listings and counts across inner blobs: limbs of three levels and more, delimiters that roll up parts of a blob, whole blobs and
//! whole inner blobs, pages of all sizes, and a cache that does not hold them.

use super::*;

/// Long keys that differ early, or late, or extend each other.
fn tall_key(kind: u64, n: u64) -> Vec<u8> {
    match kind {
        0 => [&n.to_be_bytes()[6..], &[n as u8; 3000]].concat(),
        1 => [&[7; 2500][..], &n.to_be_bytes()[6..], &[1; 500]].concat(),
        2 => vec![0xFF; 1 + n as usize * 9],
        _ => [&n.to_be_bytes()[5..], &[0xFF; 1200]].concat(),
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) * bound) >> 31
    }

    /// A key, a part of one, or what is above or below one.
    fn bound(&mut self) -> Vec<u8> {
        let mut key = tall_key(self.below(4), self.below(900));
        if self.below(2) == 0 {
            key.truncate(self.below(key.len() as u64 + 1) as usize);
        }
        match self.below(3) {
            0 => key.push(0),
            1 => drop(key.pop()),
            _ => {}
        }
        key
    }
}

type Listed = Vec<(Vec<u8>, Option<u64>)>;

/// What the model says: keys with their versions, common prefixes without.
fn expected(model: &Model, request: &PageRequest<'_>) -> Listed {
    let mut items: Listed = Vec::new();
    for (key, (version, _)) in model.range(request.low.to_vec()..) {
        if request.high.is_some_and(|high| key.as_slice() >= high) {
            break;
        }
        let rolled = request.delimiter.and_then(|(byte, behind)| {
            let at = key.get(behind..)?.iter().position(|&other| other == byte)?;
            Some(key[..behind + at + 1].to_vec())
        });
        let item = rolled.map_or_else(|| (key.clone(), Some(*version)), |prefix| (prefix, None));
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    if request.reverse {
        items.reverse();
    }
    items
}

fn listed(rig: &Rig, request: &PageRequest<'_>) -> Listed {
    let (mut low, mut high) = (request.low.to_vec(), request.high.map(<[u8]>::to_vec));
    let (mut page, mut items) = (Page::default(), Listed::new());
    loop {
        let request = PageRequest { low: &low, high: high.as_deref(), ..*request };
        rig.limb().fill(&request, &mut page).unwrap();
        assert!(page.len() <= request.entries_max);
        for entry in (0..page.len()).map(|index| page.entry(index)) {
            assert!(!entry.rolled || (entry.value.is_empty() && entry.version == 0));
            items.push((entry.key.to_vec(), (!entry.rolled).then_some(entry.version)));
        }
        match page.resume.take() {
            None => return items,
            Some(next) if request.reverse => {
                assert!(high.as_ref().is_none_or(|high| next < *high), "the scan stands still");
                high = Some(next);
            }
            Some(next) => {
                assert!(next > low, "the scan stands still");
                low = next;
            }
        }
    }
}

#[test]
fn listings_and_counts_of_tall_limbs_agree_with_a_model() {
    for seed in 1..3u64 {
        let mut dice = Dice(seed);
        let mut rig = Rig::new(8 << 20);
        let mut model = Model::new();
        let mut height = 0;
        for step in 0..2400u64 {
            let key = tall_key(dice.below(4), dice.below(900));
            match dice.below(10) {
                0..=2 => rig.limb().cut_at(&rig.gate, &key).unwrap(),
                3 => assert_eq!(rig.delete(&key), model.remove(&key).is_some()),
                _ => {
                    let bytes = vec![step as u8; dice.below(2000) as usize];
                    let version = rig.put(&key, &bytes);
                    model.insert(key, (version, bytes));
                }
            }
            if step % 400 != 399 {
                continue;
            }
            let mut stats = LimbStats::default();
            rig.limb().walk(&mut |visit| visit.count(&mut stats)).unwrap();
            height = height.max(stats.height);
            for _ in 0..60 {
                let (one, other) = (dice.bound(), dice.bound());
                let (low, high) = if one < other { (one, other) } else { (other, one) };
                let behind = [0, 1, 2, low.len()][dice.below(4) as usize];
                let byte = [0, 1, 7, 0xFF, dice.below(256) as u8][dice.below(5) as usize];
                let request = PageRequest {
                    low: if dice.below(4) == 0 { &[] } else { &low },
                    high: (dice.below(3) > 0).then_some(&high[..]),
                    reverse: dice.below(2) == 0,
                    keys_only: dice.below(2) == 0,
                    delimiter: (dice.below(3) > 0).then_some((byte, behind)),
                    entries_max: [1, 2, 7, 100, usize::MAX][dice.below(5) as usize],
                };
                let (found, wanted) = (listed(&rig, &request), expected(&model, &request));
                let differ = found.iter().zip(&wanted).position(|(one, other)| one != other);
                assert!(
                    found == wanted,
                    "{} and {} items, from {differ:?} on: {request:?}",
                    found.len(),
                    wanted.len()
                );
                let counted = rig.limb().count(request.low, request.high).unwrap();
                let all = expected(&model, &PageRequest { delimiter: None, ..request });
                assert_eq!(counted.keys as usize, all.len());
                assert_eq!(counted.key_bytes as usize, all.iter().map(|(key, _)| key.len()).sum::<usize>());
            }
        }
        assert!(height >= 3, "{height}");
    }
}
