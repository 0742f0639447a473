//! Writing to fresh extents: reserve, write in bulk, and only then install. Until it is installed nobody can see a
//! write, so a failure gives the space back and has changed nothing. Where no extent is free the file grows first
//! ([`grow`](super::grow)): a write never goes past its end.

use super::block::Image;
use super::extents::{Policy, RUN_UNITS};
use super::file::DataFile;
use super::{BlobId, Origin, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{BLOB_BYTES, BLOCK_BYTES};
use crate::sync::Ordering;
use xxhash_rust::xxh3::xxh3_64;

/// How often a write lets the file grow before it takes what there is.
const GROWTH_TRIES: usize = 4;

impl Store {
    /// Writes images to fresh extents and makes them current (eviction of a dirty blob). All or nothing.
    ///
    /// The images become part of the epoch in which the write *ends*: a blob that was dirty at a cut which began
    /// meanwhile is still to be given to [`Store::write_cut`].
    pub(crate) fn write_current(&self, images: &[(BlobId, &[u8])]) -> Result<()> {
        let laid = self.lay_images(images.len(), |at| images[at])?;
        let mut state = self.state.lock();
        for (&(id, _), image) in images.iter().zip(laid) {
            state.install_current(id, image);
        }
        Ok(())
    }

    /// Writes images for the cut in progress. All or nothing. Every image of the cut has to be written before
    /// [`Store::finish_cut`] is called.
    pub(crate) fn write_cut(&self, images: &[(BlobId, &[u8], Origin)]) -> Result<()> {
        match &self.state.lock().cut {
            None => return Err(Error::invalid("an image for a cut while there is none in progress")),
            Some(cut) => {
                if let Some((id, ..)) = images.iter().find(|(id, ..)| id.0 >= cut.id_bound) {
                    return Err(Error::invalid(format_args!("blob {} is younger than the cut", id.0)));
                }
            }
        }
        let laid = self.lay_images(images.len(), |at| (images[at].0, images[at].1))?;
        let mut state = self.state.lock();
        if state.cut.is_none() {
            let starts: Vec<u32> = laid.iter().map(|image| image.unit).collect();
            let needs: Vec<u32> = laid.iter().map(Image::units).collect();
            state.release(&starts, &needs);
            return Err(Error::invalid("the cut was finished before all its images were written"));
        }
        for (&(id, _, origin), image) in images.iter().zip(laid) {
            state.install_cut(id, image, origin);
        }
        Ok(())
    }

    fn lay_images<'a>(
        &self,
        count: usize,
        image: impl Fn(usize) -> (BlobId, &'a [u8]),
    ) -> Result<Vec<Image>> {
        self.writable()?;
        let mut images = Vec::with_capacity(count);
        for (id, bytes) in (0..count).map(&image) {
            if id.0 == 0 || bytes.is_empty() || bytes.len() > BLOB_BYTES {
                let what = format_args!("blob {}: an image of {} bytes", id.0, bytes.len());
                return Err(Error::invalid(what));
            }
            images.push(Image { unit: 0, bytes: bytes.len() as u32, hash: xxh3_64(bytes) });
        }
        let needs: Vec<u32> = images.iter().map(Image::units).collect();
        let starts = self.lay(&needs, |at, _, out| {
            let bytes = image(at).1;
            out[..bytes.len()].copy_from_slice(bytes);
        })?;
        for (image, start) in images.iter_mut().zip(starts) {
            image.unit = start;
        }
        self.blob_writes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(images)
    }

    /// Reserves `needs[i]` units for each i and writes there what `fill(i, unit, zeros)` makes of the zeros, called in
    /// order. Returns the units, which stay reserved.
    pub(super) fn lay(&self, needs: &[u32], mut fill: impl FnMut(usize, u32, &mut [u8])) -> Result<Vec<u32>> {
        let starts = self.find_space(needs)?;
        let result = {
            let _length_stays = self.length.read();
            write_all(&self.file, needs, &starts, &mut fill)
        };
        if let Err(error) = result {
            self.state.lock().release(&starts, needs);
            return Err(error);
        }
        Ok(starts)
    }

    /// Reserves space in pieces worth a write, at the end of a longer file if need be; on a full device in whatever
    /// pieces there are.
    fn find_space(&self, needs: &[u32]) -> Result<Vec<u32>> {
        let units = needs.iter().map(|&units| u64::from(units)).sum();
        for _ in 0..GROWTH_TRIES {
            let found = {
                let mut state = self.state.lock();
                let policy = state.policy(self.is_full());
                state.reserve(needs, policy)
            };
            if let Some(starts) = found {
                return Ok(starts);
            }
            match self.grow(units) {
                Err(full) if full.kind() == ErrorKind::NoSpace => {
                    return self.state.lock().reserve(needs, Policy::Within).ok_or(full);
                }
                grown => grown?,
            }
        }
        // Others took what was grown.
        let within = self.state.lock().reserve(needs, Policy::Within);
        within.ok_or_else(|| {
            Error::new(ErrorKind::NoSpace, format_args!("{}: no space left", self.file.name()))
        })
    }
}

/// Writes neighbours together, at most [`RUN_UNITS`] at a time.
fn write_all(
    file: &DataFile,
    needs: &[u32],
    starts: &[u32],
    fill: &mut impl FnMut(usize, u32, &mut [u8]),
) -> Result<()> {
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < starts.len() {
        buffer.clear();
        let first = starts[done];
        let mut next = u64::from(first);
        while done < starts.len() && u64::from(starts[done]) == next {
            let taken = buffer.len();
            let bytes = needs[done] as usize * BLOCK_BYTES;
            if taken > 0 && taken + bytes > RUN_UNITS as usize * BLOCK_BYTES {
                break;
            }
            buffer.resize(taken + bytes, 0);
            fill(done, starts[done], &mut buffer[taken..]);
            next += u64::from(needs[done]);
            done += 1;
        }
        for (piece, bytes) in buffer.chunks(RUN_UNITS as usize * BLOCK_BYTES).enumerate() {
            file.write(first + piece as u32 * RUN_UNITS, bytes)?;
        }
    }
    Ok(())
}
