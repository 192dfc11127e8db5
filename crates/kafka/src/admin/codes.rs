//! Java's enums as they are in requests and answers.

/// An enum whose numbers are Kafka's: [`Self::code`] and back. What a newer broker may say is `Unknown`.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// A number of a later version of Kafka.
            Unknown,
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All that are known.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As in requests.
            pub fn code(self) -> i8 {
                match self {
                    Self::Unknown => 0,
                    $(Self::$variant => $code,)+
                }
            }

            /// As in answers.
            pub fn from_code(code: i8) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    _ => Self::Unknown,
                }
            }

            /// Java's name.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Unknown => "UNKNOWN",
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}
pub(super) use wire_enum;

wire_enum! {
    /// What somebody may do: Java's `AclOperation`.
    AclOperation {
        /// Any, in filters.
        Any = 1 "ANY",
        /// All there are.
        All = 2 "ALL",
        /// Read.
        Read = 3 "READ",
        /// Write.
        Write = 4 "WRITE",
        /// Create.
        Create = 5 "CREATE",
        /// Delete.
        Delete = 6 "DELETE",
        /// Alter.
        Alter = 7 "ALTER",
        /// Describe.
        Describe = 8 "DESCRIBE",
        /// What brokers do among themselves.
        ClusterAction = 9 "CLUSTER_ACTION",
        /// Describe settings.
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        /// Alter settings.
        AlterConfigs = 11 "ALTER_CONFIGS",
        /// Produce idempotently, before Kafka 3.0.
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        /// Create tokens for somebody else.
        CreateTokens = 13 "CREATE_TOKENS",
        /// Describe tokens of somebody else.
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        /// Take part in transactions of others.
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

/// The operations of a bit field; none if the broker does not say.
pub(super) fn operations(bits: i32) -> Option<Vec<AclOperation>> {
    if bits == i32::MIN {
        return None;
    }
    let allowed = |operation: &&AclOperation| bits & (1 << operation.code()) != 0;
    Some(AclOperation::ALL.iter().filter(allowed).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_javas() {
        for (at, operation) in AclOperation::ALL.iter().enumerate() {
            assert_eq!(usize::try_from(operation.code()).unwrap(), at + 1);
            assert_eq!(AclOperation::from_code(operation.code()), *operation);
        }
        assert_eq!(AclOperation::from_code(99), AclOperation::Unknown);
        assert_eq!(operations(i32::MIN), None);
        assert_eq!(operations(0b1_0000_1000), Some(vec![AclOperation::Read, AclOperation::Describe]));
    }
}
