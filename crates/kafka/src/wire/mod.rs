//! Bytes to and from a broker: frames, headers, messages. Connections that carry them are in [`crate::net`].
//!
//! [`decode_request`] and [`decode_response`] are the only doors for messages from outside: they check every length before the decoder sees
//! it. The broker uses the first, the client the second, the simulator both.
//! Nothing here knows what a request means.

mod by_id;
mod codec;
mod frame;
mod guard;
mod pieces;

pub use codec::{
    DecodedRequest, RequestError, correlation_id, decode_consumer_assignment, decode_consumer_subscription,
    decode_request, decode_response, decode_response_kind, encode_consumer_assignment, encode_consumer_subscription,
    encode_request, encode_request_frame, encode_request_kind, encode_response, encode_response_frame,
};
pub use frame::{FrameError, FrameReader, FrameStream};
pub use guard::Problem;
pub use pieces::OutFrame;

/// A message that cannot be decoded or encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A request of a kind that this build does not know.
    #[error("API key {api_key} is unknown")]
    UnknownApi {
        /// The number that stands for the kind of request.
        api_key: i16,
    },
    /// A version that this build does not know.
    #[error("{message} version {version} is not supported; versions {min} to {max} are")]
    UnsupportedVersion {
        /// The message, such as `FetchRequest`.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// Lowest known version.
        min: i16,
        /// Highest known version.
        max: i16,
    },
    /// Bytes that are not such a message.
    #[error("malformed {message} version {version}: `{field}` before byte {at}: {problem}")]
    Malformed {
        /// The message, such as `FetchRequest`.
        message: &'static str,
        /// Its version.
        version: i16,
        /// The field where reading stopped.
        field: &'static str,
        /// How far reading came, counted from the end of the header.
        at: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The decoder or encoder refused, although the lengths are right: text that is not UTF-8, null where none may be, a field that the version lacks.
    #[error("{message} version {version}: {detail}")]
    Refused {
        /// The message, such as `FetchRequest`.
        message: String,
        /// Its version.
        version: i16,
        /// What the decoder or encoder says.
        detail: String,
    },
    /// A frame too short for its header.
    #[error("a frame of {len} bytes ends within its header")]
    ShortHeader {
        /// Bytes in the frame.
        len: usize,
    },
    /// A message too long for a frame.
    #[error("a message of {len} bytes does not fit into a frame")]
    TooLong {
        /// Bytes in the message.
        len: usize,
    },
}
