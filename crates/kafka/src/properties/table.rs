//! How the tables of properties are written: one line for each.

pub(super) use super::rule::Rule::*;
pub(super) use super::{Importance::*, Kind::*, Property, Status::*};

/// What is there if nothing is given: the text as it would be given.
pub(super) const NULL: Default = Default::Null;
pub(super) const REQUIRED: Default = Default::Required;

pub(super) use super::Default;

/// `"name" Kind DEFAULT Importance Rule => Status "note";` for each.
macro_rules! table {
    ($($name:literal $kind:ident $default:tt $importance:ident $rule:ident $(($($argument:expr),+))? => $status:ident $note:literal;)*) => {
        &[$(Property {
            name: $name,
            kind: $kind,
            default: table!(@default $default),
            importance: $importance,
            rule: $rule $(($($argument),+))?,
            status: $status,
            note: $note,
        },)*]
    };
    (@default NULL) => { NULL };
    (@default REQUIRED) => { REQUIRED };
    (@default $text:literal) => { Default::Value($text) };
}
pub(super) use table;
