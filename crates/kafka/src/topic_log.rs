//! A compacted topic read to its end, followed and appended to.
