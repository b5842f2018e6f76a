//! Client certificates that name API keys.

use axum_server::tls::TlsInfo;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Beginning of URIs that name a key.
const URI: &str = "urn:token-manager:key:";

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The names by which a verified client certificate may name a key. The more explicit ones count alone: URIs that begin
/// with [`URI`], else DNS names, else the common name of the subject.
pub(crate) fn names(tls: &TlsInfo) -> Vec<String> {
    let certificate = tls.peer_certificates.first();
    certificate
        .and_then(|der| Certificate::from_der(der).ok())
        .map(|it| of(&it))
        .unwrap_or_default()
}

fn of(certificate: &Certificate) -> Vec<String> {
    let certificate = &certificate.tbs_certificate;
    let alternative = certificate.get::<SubjectAltName>().ok().flatten();
    let alternative = alternative.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => {
            uri.as_str().strip_prefix(URI).map(str::to_owned)
        }
        _ => None,
    };
    let dns = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        _ => None,
    };
    let subject = certificate.subject.0.iter().flat_map(|names| names.0.iter());
    let common = subject
        .filter(|name| name.oid == COMMON_NAME)
        .filter_map(|name| std::str::from_utf8(name.value.value()).ok().map(str::to_owned));
    let mut kinds = [
        alternative.iter().filter_map(uri).collect::<Vec<_>>(),
        alternative.iter().filter_map(dns).collect(),
        common.collect(),
    ]
    .into_iter();
    kinds.find(|names| !names.is_empty()).unwrap_or_default()
}
