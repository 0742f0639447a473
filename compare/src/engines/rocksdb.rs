//! RocksDB as its tuning guide sets it up: Bloom filters of 10 bits a key, 16 KiB blocks with a hash index for point reads, index and
//! filter blocks in the block cache, LZ4 above and ZSTD in the last level, a background job a core. Sorted loads are ingested files.
//! Batched commits stay in the log's buffer until it is full, as Ramus's do; iterators are kept, as they are dear to make.

use std::path::PathBuf;

use anyhow::Result;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRawIterator, DataBlockIndexType, FlushOptions,
    Options, ReadOptions, SstFileWriter, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{check_rename, list_by_seeks, longest_by_seeks, moved};
use crate::engine::{Class, Engine, Records, See, Session, Setup, Value, end_of};

pub struct Rocksdb {
    db: DB,
    dir: PathBuf,
    options: Options,
    class: Class,
}

fn options(setup: &Setup) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(setup.cache_bytes as usize));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_block_size(16 << 10);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(0.75);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.increase_parallelism(std::thread::available_parallelism().map_or(2, |cores| cores.get() as i32));
    options.set_bytes_per_sync(1 << 20);
    options.set_manual_wal_flush(setup.class == Class::Batched);
    options
}

impl Rocksdb {
    pub fn open(setup: &Setup) -> Result<Self> {
        let options = options(setup);
        Ok(Self { db: DB::open(&options, &setup.dir)?, dir: setup.dir.clone(), options, class: setup.class })
    }

    /// Ingests files that are written beside the database, of some 64 MiB each.
    fn ingest(&self, records: Records<'_, '_>) -> Result<()> {
        let mut files = Vec::new();
        let mut records = records.peekable();
        while records.peek().is_some() {
            let file = self.dir.join(format!("load-{}.sst", files.len()));
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&file)?;
            for (key, value) in records.by_ref().take(400_000) {
                writer.put(key, value)?;
            }
            writer.finish()?;
            files.push(file);
        }
        let mut options = rocksdb::IngestExternalFileOptions::default();
        options.set_move_files(true);
        if !files.is_empty() {
            self.db.ingest_external_file_opts(&options, files)?;
        }
        Ok(())
    }
}

impl Engine for Rocksdb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        let mut write = WriteOptions::default();
        write.set_sync(self.class == Class::Durable);
        Ok(Box::new(RocksdbSession { db: &self.db, write, cursor: None }))
    }

    fn load(&self, records: Records<'_, '_>, sorted: bool) -> Result<()> {
        if sorted {
            return self.ingest(records);
        }
        let mut batch = WriteBatch::default();
        for (key, value) in records {
            batch.put(key, value);
            if batch.len() == 1000 {
                self.db.write(std::mem::take(&mut batch))?;
            }
        }
        Ok(self.db.write(batch)?)
    }

    fn settle(&self) -> Result<()> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_opt(&flush)?;
        self.quiet()
    }

    fn quiet(&self) -> Result<()> {
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn hand_over(&self) -> Result<()> {
        Ok(self.db.flush_wal(false)?)
    }

    fn compact(&mut self) -> Result<Option<PathBuf>> {
        self.settle()?;
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
        self.quiet()?;
        Ok(None)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.flush_wal(true)?;
        Ok(())
    }
}

struct RocksdbSession<'e> {
    db: &'e DB,
    write: WriteOptions,
    /// Of a snapshot.
    cursor: Option<DBRawIterator<'e>>,
}

impl<'e> RocksdbSession<'e> {
    fn cursor(&mut self) -> &mut DBRawIterator<'e> {
        self.cursor.get_or_insert_with(|| self.db.raw_iterator_opt(ReadOptions::default()))
    }

    fn commit(&mut self, batch: WriteBatch) -> Result<()> {
        self.cursor = None;
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    /// Shows records from where the cursor stands.
    fn walk(cursor: &mut DBRawIterator<'e>, mut see: impl FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        while let Some((key, value)) = cursor.item() {
            if !see(key, value) {
                return Ok(());
            }
            cursor.next();
        }
        Ok(cursor.status()?)
    }

    fn taken(&mut self, prefix: &[u8], mut see: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let cursor = self.cursor();
        cursor.seek(prefix);
        Self::walk(cursor, |key, value| {
            let inside = key.starts_with(prefix);
            if inside {
                see(key, value);
            }
            inside
        })
    }
}

impl Session for RocksdbSession<'_> {
    fn refresh(&mut self) -> Result<()> {
        self.cursor = None;
        Ok(())
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = self.db.get_pinned(key)?;
        if let Some(value) = &found {
            see(value);
        }
        Ok(found.is_some())
    }

    fn get_owned(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get(key)?)
    }

    fn list_after(&mut self, prefix: &[u8], after: &[u8], limit: usize, see: See<'_>) -> Result<()> {
        let cursor = self.cursor();
        cursor.seek(after);
        let mut left = limit;
        Self::walk(cursor, |key, value| {
            if key == after {
                return true;
            }
            if !key.starts_with(prefix) || left == 0 {
                return false;
            }
            see(key, value);
            left -= 1;
            left > 0
        })
    }

    fn list_dir(&mut self, prefix: &[u8], limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let cursor = self.cursor();
        list_by_seeks(prefix, limit, see, |bound, see| {
            cursor.seek(bound);
            Self::walk(cursor, |key, _| see(key))
        })
    }

    fn longest_prefix(&mut self, key: &[u8], see: See<'_>) -> Result<bool> {
        let cursor = self.cursor();
        longest_by_seeks(key, see, |bound, see| {
            cursor.seek_for_prev(bound);
            if let Some((key, value)) = cursor.item() {
                see(key, value);
            }
            Ok(cursor.status()?)
        })
    }

    fn count(&mut self, prefix: &[u8]) -> Result<u64> {
        let mut counted = 0;
        self.taken(prefix, |_, _| counted += 1)?;
        Ok(counted)
    }

    fn put(&mut self, key: &[u8], value: &Value) -> Result<()> {
        self.cursor = None;
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.cursor = None;
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn rename(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        {
            let value = self.db.get_pinned(src)?;
            check_rename(src, value.is_some(), self.db.get_pinned(dst)?.is_some())?;
            if let Some(value) = &value {
                batch.put(dst, value);
            }
            batch.delete(src);
        }
        self.commit(batch)
    }

    fn rename_dir(&mut self, src: &[u8], dst: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_range(src, &end_of(src)[..]);
        self.taken(src, |key, value| batch.put(moved(key, src, dst), value))?;
        self.commit(batch)
    }

    fn delete_dir(&mut self, prefix: &[u8]) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_range(prefix, &end_of(prefix)[..]);
        self.commit(batch)
    }
}
