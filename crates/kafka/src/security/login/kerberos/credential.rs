//! Credentials from a named keytab or ticket cache.
//!
//! The safe bindings know the process's own keytab and cache only, which environment variables name for all connections alike; the extension
//! `gss_acquire_cred_from` (MIT krb5 1.11) takes both by name. This is its one call.
#![expect(unsafe_code, reason = "the safe bindings lack gss_acquire_cred_from")]

use std::ffi::{CStr, CString, c_void};
use std::ptr;

use libgssapi::credential::Cred;
use libgssapi::error::{Error, MajorFlags};
use libgssapi_sys as sys;

/// 1.2.840.113554.1.2.2, Kerberos 5.
const KERBEROS: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
/// 1.2.840.113554.1.2.2.1, a name as Kerberos writes it.
const PRINCIPAL: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";

/// The credentials of a principal, or of whoever the store is for, to begin contexts with.
///
/// `store` names where they are, as pairs: `ccache` a ticket cache, `client_keytab` the keytab that fills it.
pub(super) fn acquire(principal: Option<&str>, store: &[(&CStr, CString)]) -> Result<Cred, Error> {
    let name = principal.map(Name::import).transpose()?;
    let mut elements: Vec<_> = store
        .iter()
        .map(|(key, value)| sys::gss_key_value_element_desc { key: key.as_ptr(), value: value.as_ptr() })
        .collect();
    // Few, so it fits.
    let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
    let store = sys::gss_key_value_set_desc { count, elements: elements.as_mut_ptr() };
    let mut mechanism = oid(KERBEROS);
    let mut mechanisms = sys::gss_OID_set_desc { count: 1, elements: &raw mut mechanism };
    let (mut minor, mut credential) = (0, ptr::null_mut());
    // SAFETY: every pointer is to a live local or null where the function allows it; the library copies what it keeps.
    let major = unsafe {
        sys::gss_acquire_cred_from(
            &raw mut minor,
            name.as_ref().map_or(ptr::null_mut(), |name| name.0),
            sys::_GSS_C_INDEFINITE,
            &raw mut mechanisms,
            sys::GSS_C_INITIATE as sys::gss_cred_usage_t,
            &raw const store,
            &raw mut credential,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    check(major, minor)?;
    // SAFETY: the function has succeeded, so the credential is a new one that nobody else releases.
    Ok(unsafe { Cred::from_c(credential) })
}

fn check(major: u32, minor: u32) -> Result<(), Error> {
    if major == sys::GSS_S_COMPLETE { Ok(()) } else { Err(Error { major: MajorFlags::from_bits_retain(major), minor }) }
}

fn oid(bytes: &'static [u8]) -> sys::gss_OID_desc {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    sys::gss_OID_desc { length, elements: bytes.as_ptr().cast::<c_void>().cast_mut() }
}

/// A name that the library holds.
struct Name(sys::gss_name_t);

impl Name {
    fn import(principal: &str) -> Result<Self, Error> {
        let mut text =
            sys::gss_buffer_desc { length: principal.len(), value: principal.as_ptr().cast::<c_void>().cast_mut() };
        let (mut kind, mut minor, mut name) = (oid(PRINCIPAL), 0, ptr::null_mut());
        // SAFETY: every pointer is to a live local; the library copies the text and changes neither it nor the kind.
        let major = unsafe { sys::gss_import_name(&raw mut minor, &raw mut text, &raw mut kind, &raw mut name) };
        check(major, minor)?;
        Ok(Self(name))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the name came from gss_import_name and is released once.
        unsafe { sys::gss_release_name(&raw mut minor, &raw mut self.0) };
    }
}
