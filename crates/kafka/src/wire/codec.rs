//! Frames to messages and back. Lengths in messages from outside are checked first (see `guard.rs`).

use std::sync::OnceLock;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ConsumerProtocolAssignment, ConsumerProtocolSubscription, RequestHeader, RequestKind, ResponseHeader,
    ResponseKind,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use super::WireError;
use super::by_id;
use super::guard::{self, Direction, Layout};
use super::pieces::{Batches, Encoding, OutFrame};

/// Bytes of the length that precedes each frame.
const LENGTH: usize = 4;

/// A request from a client.
#[derive(Debug, Clone)]
pub struct DecodedRequest {
    /// Version, correlation id, client id.
    pub header: RequestHeader,
    /// Which request it is.
    pub api: ApiKey,
    /// The request.
    pub body: RequestKind,
}

/// A request that cannot be decoded, with its header if that much was readable: `ApiVersions` is answered even then.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct RequestError {
    /// Kind, version, correlation id.
    pub header: Option<RequestHeader>,
    /// What is wrong.
    pub error: WireError,
}

/// Decodes a request from a frame (without its length). Byte fields of the request share the frame's memory.
#[expect(clippy::result_large_err, reason = "an error ends the connection; nobody passes it on by the thousand")]
pub fn decode_request(mut frame: Bytes) -> Result<DecodedRequest, RequestError> {
    let short = |len| RequestError { header: None, error: WireError::ShortHeader { len } };
    let Some(&[key_high, key_low, version_high, version_low]) = frame.first_chunk::<4>() else {
        return Err(short(frame.len()));
    };
    let api_key = i16::from_be_bytes([key_high, key_low]);
    let version = i16::from_be_bytes([version_high, version_low]);
    let api = ApiKey::try_from(api_key)
        .map_err(|()| RequestError { header: bare_header(&frame), error: WireError::UnknownApi { api_key } })?;
    // No array in it, so that it needs no guard: its tagged fields take no memory beyond a small multiple of their bytes.
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version))
        .map_err(|error| RequestError { header: None, error: refused("RequestHeader", version, &error) })?;
    let body =
        guard::check(api, Direction::Request, version, &frame).and_then(|_| decode_body(api, &mut frame, version));
    match body {
        Ok(body) => Ok(DecodedRequest { header, api, body }),
        Err(error) => Err(RequestError { header: Some(header), error }),
    }
}

/// Decodes a request's body, whose lengths have been checked.
pub(super) fn decode_body(api: ApiKey, body: &mut Bytes, version: i16) -> Result<RequestKind, WireError> {
    let name = || format!("{api:?}Request");
    let Some(known) = by_id::translated(api, version) else {
        return RequestKind::decode(api, body, version).map_err(|error| refused(&name(), version, &error));
    };
    let unsound = || refused(&name(), version, &"its topics cannot be read");
    *body = by_id::to_names(api, body).ok_or_else(unsound)?;
    let mut request = RequestKind::decode(api, body, known).map_err(|error| refused(&name(), version, &error))?;
    by_id::identify_topics(&mut request).ok_or_else(unsound)?;
    Ok(request)
}

/// Encodes a request's body.
pub(super) fn encode_body(
    api: ApiKey,
    buffer: &mut BytesMut,
    version: i16,
    request: &RequestKind,
) -> Result<(), WireError> {
    let name = || format!("{api:?}Request");
    let Some(known) = by_id::translated(api, version) else {
        return request.encode(buffer, version).map_err(|error| refused(&name(), version, &error));
    };
    let (mut request, mut body) = (request.clone(), BytesMut::new());
    by_id::name_topics(&mut request);
    request.encode(&mut body, known).map_err(|error| refused(&name(), version, &error))?;
    let body = by_id::to_ids(api, &body).ok_or_else(|| refused(&name(), version, &"its topics cannot be written"))?;
    buffer.put_slice(&body);
    Ok(())
}

/// The fixed part that begins every request header since version 1.
fn bare_header(frame: &Bytes) -> Option<RequestHeader> {
    let mut fixed: &[u8] = frame.first_chunk::<8>()?;
    Some(
        RequestHeader::default()
            .with_request_api_key(fixed.get_i16())
            .with_request_api_version(fixed.get_i16())
            .with_correlation_id(fixed.get_i32()),
    )
}

/// Encodes a request as a frame, its length included.
pub fn encode_request<R: Request>(
    client_id: Option<&StrBytes>,
    correlation_id: i32,
    version: i16,
    request: &R,
) -> Result<BytesMut, WireError> {
    let name = || short_name(std::any::type_name::<R>());
    check_version::<R>(version)?;
    let header = request_header(R::KEY, client_id, correlation_id, version);
    framed(|buffer| {
        header.encode(buffer, R::header_version(version)).map_err(|error| refused(name(), version, &error))?;
        request.encode(buffer, version).map_err(|error| refused(name(), version, &error))
    })
}

/// Encodes a request of any kind as a frame whose record batches are those of the request, not copies.
pub fn encode_request_frame(
    client_id: Option<&StrBytes>,
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    request: &RequestKind,
) -> Result<OutFrame, WireError> {
    let RequestKind::Produce(produce) = request else {
        return encode_request_kind(client_id, correlation_id, api, version, request).map(OutFrame::from);
    };
    let header = request_header(api as i16, client_id, correlation_id, version);
    in_pieces(produce, |buffer| {
        let encoded = header.encode(buffer, api.request_header_version(version));
        encoded
            .and_then(|()| produce.encode(buffer, version))
            .map_err(|error| refused("ProduceRequest", version, &error))
    })
}

/// Encodes a request of any kind as a frame, its length included.
pub fn encode_request_kind(
    client_id: Option<&StrBytes>,
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    request: &RequestKind,
) -> Result<BytesMut, WireError> {
    let name = format!("{api:?}Request");
    let header = request_header(api as i16, client_id, correlation_id, version);
    framed(|buffer| {
        header.encode(buffer, api.request_header_version(version)).map_err(|error| refused(&name, version, &error))?;
        encode_body(api, buffer, version, request)
    })
}

fn request_header(api_key: i16, client_id: Option<&StrBytes>, correlation_id: i32, version: i16) -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.cloned())
}

/// Which request a frame (without its length) answers.
pub fn correlation_id(frame: &[u8]) -> Result<i32, WireError> {
    frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)).ok_or(WireError::ShortHeader { len: frame.len() })
}

/// Decodes the response to a request of type `R` and `version` from a frame (without its length). Byte fields share the frame's memory.
pub fn decode_response<R: Request>(mut frame: Bytes, version: i16) -> Result<R::Response, WireError> {
    let api = ApiKey::try_from(R::KEY).map_err(|()| WireError::UnknownApi { api_key: R::KEY })?;
    check_version::<R::Response>(version)?;
    let name = || short_name(std::any::type_name::<R::Response>());
    ResponseHeader::decode(&mut frame, R::Response::header_version(version))
        .map_err(|error| refused(name(), version, &error))?;
    guard::check(api, Direction::Response, version, &frame)?;
    R::Response::decode(&mut frame, version).map_err(|error| refused(name(), version, &error))
}

/// Decodes the response to a request of kind `api`, as [`decode_response`] does. Returns its correlation id as well.
pub fn decode_response_kind(api: ApiKey, mut frame: Bytes, version: i16) -> Result<(i32, ResponseKind), WireError> {
    let refused = |error: &_| refused(&format!("{api:?}Response"), version, error);
    let header =
        ResponseHeader::decode(&mut frame, api.response_header_version(version)).map_err(|error| refused(&error))?;
    guard::check(api, Direction::Response, version, &frame)?;
    let body = ResponseKind::decode(api, &mut frame, version).map_err(|error| refused(&error))?;
    Ok((header.correlation_id, body))
}

/// Encodes a response as a frame, its length included.
pub fn encode_response(correlation_id: i32, version: i16, response: &ResponseKind) -> Result<BytesMut, WireError> {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    framed(|buffer| {
        let encoded =
            header.encode(buffer, response.header_version(version)).and_then(|()| response.encode(buffer, version));
        encoded.map_err(|error| refused("response", version, &error))
    })
}

/// Encodes a response as a frame whose record batches are those of the response, not copies.
pub fn encode_response_frame(
    correlation_id: i32,
    version: i16,
    response: &ResponseKind,
) -> Result<OutFrame, WireError> {
    let ResponseKind::Fetch(fetch) = response else {
        return encode_response(correlation_id, version, response).map(OutFrame::from);
    };
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    in_pieces(fetch, |buffer| {
        let encoded = header.encode(buffer, response.header_version(version));
        encoded.and_then(|()| fetch.encode(buffer, version)).map_err(|error| refused("FetchResponse", version, &error))
    })
}

/// Decodes what a consumer tells its group: topics, owned partitions. The bytes come from other members, so they are checked as a message is.
///
/// A version beyond ours is read as the highest that we know, as in Java: later versions only append.
pub fn decode_consumer_subscription(bytes: Bytes) -> Result<ConsumerProtocolSubscription, WireError> {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    decode_versioned(&LAYOUT, "ConsumerProtocolSubscription", bytes)
}

/// Decodes what a group's leader assigns to a consumer, as [`decode_consumer_subscription`] does.
pub fn decode_consumer_assignment(bytes: Bytes) -> Result<ConsumerProtocolAssignment, WireError> {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    decode_versioned(&LAYOUT, "ConsumerProtocolAssignment", bytes)
}

/// Encodes what a consumer tells its group, its version in front.
pub fn encode_consumer_subscription(
    subscription: &ConsumerProtocolSubscription,
    version: i16,
) -> Result<Bytes, WireError> {
    encode_versioned("ConsumerProtocolSubscription", subscription, version)
}

/// Encodes what a group's leader assigns to a consumer, its version in front.
pub fn encode_consumer_assignment(assignment: &ConsumerProtocolAssignment, version: i16) -> Result<Bytes, WireError> {
    encode_versioned("ConsumerProtocolAssignment", assignment, version)
}

fn decode_versioned<M: Message + Decodable>(
    layout: &'static OnceLock<Layout>,
    name: &str,
    mut bytes: Bytes,
) -> Result<M, WireError> {
    if bytes.len() < 2 {
        return Err(WireError::ShortHeader { len: bytes.len() });
    }
    let version = bytes.get_i16().min(M::VERSIONS.max);
    guard::check_named(layout, name, version, &bytes)?;
    M::decode(&mut bytes, version).map_err(|error| refused(name, version, &error))
}

fn encode_versioned<M: Message + Encodable>(name: &str, message: &M, version: i16) -> Result<Bytes, WireError> {
    let mut buffer = BytesMut::new();
    buffer.extend_from_slice(&version.to_be_bytes());
    message.encode(&mut buffer, version).map_err(|error| refused(name, version, &error))?;
    Ok(buffer.freeze())
}

fn check_version<M: Message>(version: i16) -> Result<(), WireError> {
    let range = M::VERSIONS;
    if version < range.min || version > range.max {
        let message = short_name(std::any::type_name::<M>());
        return Err(WireError::UnsupportedVersion { message, version, min: range.min, max: range.max });
    }
    Ok(())
}

fn framed(write: impl FnOnce(&mut BytesMut) -> Result<(), WireError>) -> Result<BytesMut, WireError> {
    let mut buffer = BytesMut::with_capacity(256);
    buffer.extend_from_slice(&[0; LENGTH]);
    write(&mut buffer)?;
    let len = buffer.len() - LENGTH;
    let length = i32::try_from(len).map_err(|_| WireError::TooLong { len })?;
    buffer[..LENGTH].copy_from_slice(&length.to_be_bytes());
    Ok(buffer)
}

/// As [`framed`], the message's batches in pieces of their own.
fn in_pieces(
    message: &impl Batches,
    write: impl FnOnce(&mut Encoding) -> Result<(), WireError>,
) -> Result<OutFrame, WireError> {
    let mut buffer = Encoding::new(message);
    buffer.put_slice(&[0; LENGTH]);
    write(&mut buffer)?;
    let len = buffer.len() - LENGTH;
    let length = i32::try_from(len).map_err(|_| WireError::TooLong { len })?;
    buffer.head(LENGTH).copy_from_slice(&length.to_be_bytes());
    Ok(buffer.finish())
}

fn refused(message: &str, version: i16, error: &impl std::fmt::Display) -> WireError {
    // The alternate form prints the whole chain of causes on one line.
    WireError::Refused { message: message.to_owned(), version, detail: format!("{error:#}") }
}

fn short_name(path: &'static str) -> &'static str {
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse};

    #[test]
    fn a_request_comes_back_as_it_went() {
        let request = MetadataRequest::default().with_topics(None);
        let client_id = StrBytes::from_static_str("me");
        let mut frame = encode_request(Some(&client_id), 7, 12, &request).unwrap().freeze();
        assert_eq!(frame.get_i32() as usize, frame.len());
        let decoded = decode_request(frame).unwrap();
        assert_eq!(decoded.header.correlation_id, 7);
        assert_eq!(decoded.header.client_id, Some(client_id));
        assert_eq!(decoded.body, RequestKind::Metadata(request));
    }

    #[test]
    fn a_response_comes_back_as_it_went() {
        let response = MetadataResponse::default().with_controller_id(3.into());
        let mut frame = encode_response(9, 12, &ResponseKind::Metadata(response.clone())).unwrap().freeze();
        frame.advance(LENGTH);
        assert_eq!(correlation_id(&frame).unwrap(), 9);
        assert_eq!(decode_response::<MetadataRequest>(frame.clone(), 12).unwrap(), response);
        assert_eq!(decode_response_kind(ApiKey::Metadata, frame, 12).unwrap(), (9, ResponseKind::Metadata(response)));
    }

    #[test]
    fn a_version_from_the_future_still_has_a_header() {
        let mut frame = encode_request(None, 5, 4, &ApiVersionsRequest::default()).unwrap();
        frame[7] = 99;
        let error = decode_request(frame.split_off(LENGTH).freeze()).unwrap_err();
        assert_eq!(error.header.map(|h| h.correlation_id), Some(5));
        assert_eq!(error.error.to_string(), "ApiVersionsRequest version 99 is not supported; versions 0 to 4 are");
        let frame = encode_response(5, 0, &ResponseKind::ApiVersions(ApiVersionsResponse::default())).unwrap();
        assert_eq!(&frame[LENGTH..][..4], &[0, 0, 0, 5]);
    }

    #[test]
    fn four_hostile_bytes_are_an_error() {
        // Metadata version 1: header (key, version, correlation, client id), then a topic array of 2^31-1 elements.
        let frame = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
        let error = decode_request(Bytes::copy_from_slice(&frame)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed MetadataRequest version 1: `topics` before byte 4: it claims 2147483647 bytes or elements, more than are left"
        );
    }

    #[test]
    fn short_frames_are_errors() {
        for len in 0..8 {
            decode_request(Bytes::from(vec![0; len])).unwrap_err();
            if len < 4 {
                correlation_id(&vec![0; len]).unwrap_err();
            }
        }
    }
}
