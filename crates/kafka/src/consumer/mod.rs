//! The consumer: assigned partitions or a group's share, handed over as whole batches.
