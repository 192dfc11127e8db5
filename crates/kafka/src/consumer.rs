//! Reading records: assigned partitions, groups, positions.
