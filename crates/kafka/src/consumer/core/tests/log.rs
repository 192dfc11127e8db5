//! The log of a partition as a broker has it: plain, compressed, transactional, compacted and control batches.

use super::*;

/// One partition's log as a broker has it.
#[derive(Default)]
pub(super) struct Log {
    pub(super) batches: Vec<Batch>,
    /// Offsets of records outside of aborted transactions.
    pub(super) visible: Vec<i64>,
    /// Of all records but control records.
    pub(super) all: Vec<i64>,
    pub(super) aborted: Vec<(i64, i64, i64)>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Of the leader that appends.
    pub(super) epoch: i32,
}

/// Where a batch has its leader's epoch, which its checksum does not cover.
pub(super) fn set_leader_epoch(batch: &mut [u8], epoch: i32) {
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
}

impl Log {
    /// A log of plain, transactional, compacted and control batches.
    pub(super) fn random(rng: &mut Rng, batches: u64, transactions: bool) -> Self {
        let mut log = Self::default();
        let mut open: BTreeMap<i64, (i64, Vec<i64>)> = BTreeMap::new();
        for _ in 0..batches {
            let producer = rng.below(3) as i64;
            if transactions && open.contains_key(&producer) && rng.one_in(3) {
                log.end_transaction(rng, producer, &mut open);
                continue;
            }
            let transactional = transactions && rng.one_in(2);
            let count = 1 + rng.below(12);
            let mut offsets = log.append(rng, count, transactional.then_some(producer));
            log.all.extend(&offsets);
            if transactional {
                let first = log.batches.last().unwrap().header().base_offset;
                open.entry(producer).or_insert((first, Vec::new())).1.append(&mut offsets);
            } else {
                log.visible.append(&mut offsets);
            }
        }
        while let Some(producer) = open.keys().next().copied() {
            log.end_transaction(rng, producer, &mut open);
        }
        log.visible.sort_unstable();
        log
    }

    fn end_transaction(&mut self, rng: &mut Rng, producer: i64, open: &mut BTreeMap<i64, (i64, Vec<i64>)>) {
        let (first, mut offsets) = open.remove(&producer).unwrap();
        let kind = if rng.one_in(2) { MarkerKind::Abort } else { MarkerKind::Commit };
        if kind == MarkerKind::Abort {
            self.aborted.push((producer, first, self.end));
        } else {
            self.visible.append(&mut offsets);
        }
        let mut marker = BytesMut::from(&encode_marker(producer, 0, kind, 0, 0)[..]);
        set_base_offset(&mut marker, self.end);
        self.batches.push(Batch::parse(marker.freeze()).unwrap());
        self.end += 1;
    }

    /// Appends a batch, now and then with records taken out as compaction does. Returns the offsets that are left.
    pub(super) fn append(&mut self, rng: &mut Rng, count: u64, producer: Option<i64>) -> Vec<i64> {
        let compression = Compression::from_id(rng.below(5) as u8).unwrap();
        let mut builder = Builder::new(BuilderOptions { compression, target_bytes: 1 << 20, ..Default::default() });
        for index in 0..count {
            let value = (self.end + index as i64).to_be_bytes();
            assert!(builder.try_push(7, None, Some(&value), &[]));
        }
        let mut encoded = builder.finish().unwrap();
        if let Some(producer_id) = producer {
            encoded.stamp(Stamp { producer_id, producer_epoch: 0, base_sequence: 0, transactional: true });
        }
        let mut bytes = BytesMut::from(&encoded.seal()[..]);
        set_base_offset(&mut bytes, self.end);
        set_leader_epoch(&mut bytes, self.epoch);
        let mut batch = Batch::parse(bytes.freeze()).unwrap();
        let mut offsets: Vec<i64> = (self.end..self.end + count as i64).collect();
        self.end += count as i64;
        if rng.one_in(4) {
            let kept: BTreeSet<i64> = offsets.iter().copied().filter(|_| rng.one_in(2)).collect();
            match filter(&batch, &mut Scratch::default(), None, |record| kept.contains(&record.offset)).unwrap() {
                Filtered::Rewritten(bytes) => batch = Batch::parse(bytes).unwrap(),
                Filtered::Empty => batch = Batch::parse(crate::batch::empty_like(batch.header())).unwrap(),
                Filtered::Unchanged => {}
            }
            offsets = kept.into_iter().collect();
        }
        self.batches.push(batch);
        offsets
    }

    pub(super) fn fetch(&self, from: i64, max_bytes: usize) -> (Vec<AbortedTransaction>, Bytes) {
        let mut bytes = BytesMut::new();
        for batch in self.batches.iter().filter(|batch| batch.header().last_offset() >= from) {
            if bytes.len() >= max_bytes {
                break;
            }
            bytes.extend_from_slice(batch.bytes());
        }
        let first = self.batches.iter().find(|batch| batch.header().last_offset() >= from);
        // The first batch comes whole, the last one may not.
        bytes.truncate(max_bytes.max(first.map_or(0, |batch| batch.bytes().len())));
        let aborted = self.aborted.iter().filter(|(_, _, last)| *last >= from).map(|(producer, first, _)| {
            AbortedTransaction::default().with_producer_id(ProducerId(*producer)).with_first_offset(*first)
        });
        (aborted.collect(), bytes.freeze())
    }
}
