//! An even sample of a stream of unknown length, in an order that is not the stream's.

use super::value::mix;

/// Paths kept.
const SIZE_MAX: usize = 200_000;

/// A reservoir.
#[derive(Default)]
pub(super) struct Sampler {
    paths: Vec<Vec<u8>>,
    seen: u64,
    state: u64,
}

impl Sampler {
    /// A number below `bound`, the same in every run.
    fn random(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state) % bound
    }

    pub(super) fn add(&mut self, path: &[u8]) {
        self.seen += 1;
        if self.paths.len() < SIZE_MAX {
            self.paths.push(path.to_vec());
            return;
        }
        let at = self.random(self.seen);
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.paths.get_mut(at)) {
            slot.clear();
            slot.extend_from_slice(path);
        }
    }

    /// The sample, shuffled.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        for i in (1..self.paths.len()).rev() {
            let j = self.random(i as u64 + 1) as usize;
            self.paths.swap(i, j);
        }
        self.paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_even() {
        let mut sampler = Sampler::default();
        let n = 4 * SIZE_MAX as u32;
        (0..n).for_each(|i| sampler.add(&i.to_be_bytes()));
        let sample = sampler.finish();
        assert_eq!(sample.len(), SIZE_MAX);
        let low = sample.iter().filter(|path| path[..] < (n / 2).to_be_bytes()[..]).count();
        assert!((SIZE_MAX * 49 / 100..SIZE_MAX * 51 / 100).contains(&low), "{low} from the first half");
    }
}
