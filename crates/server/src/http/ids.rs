//! Ids in paths.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pool::{LeaseId, TokenId};
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// Parameters of a path, percent-decoded, in the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct PathParams(pub(crate) Arc<[String]>);

/// All parameters of a path, percent-decoded.
pub(crate) struct PathTexts<const N: usize>(pub(crate) [String; N]);

impl<const N: usize, S: Sync> FromRequestParts<S> for PathTexts<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let params = parts.extensions.get::<PathParams>();
        let texts = params.and_then(|PathParams(params)| params.to_vec().try_into().ok());
        texts.map(PathTexts).ok_or_else(|| {
            let detail = "A name in the path is malformed: a % must be followed by two hex digits, and \
                          the bytes must be UTF-8.";
            Problem::new(Code::UnknownPath, detail)
        })
    }
}

/// A kind of id that paths contain.
pub(crate) trait Id {
    /// Code of the problem with an invalid id.
    const INVALID: Code;

    fn new(uuid: Uuid) -> Self;
}

impl Id for TokenId {
    const INVALID: Code = Code::InvalidTokenId;

    fn new(uuid: Uuid) -> Self {
        TokenId(uuid)
    }
}

impl Id for LeaseId {
    const INVALID: Code = Code::InvalidLeaseId;

    fn new(uuid: Uuid) -> Self {
        LeaseId(uuid)
    }
}

/// A ticket, named by the id of the lease that it will become.
pub(crate) struct TicketId(pub(crate) LeaseId);

impl Id for TicketId {
    const INVALID: Code = Code::InvalidTicket;

    fn new(uuid: Uuid) -> Self {
        TicketId(LeaseId(uuid))
    }
}

/// The id in a path.
pub(crate) struct PathId<I> {
    pub(crate) id: I,
    /// The id as it was sent, in any letter case, but percent-decoded.
    pub(crate) sent: String,
}

impl<I: Id, S: Sync> FromRequestParts<S> for PathId<I> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let params = parts.extensions.get::<PathParams>();
        let sent = params.and_then(|PathParams(params)| params.first());
        let id = sent.and_then(|sent| Some(PathId { id: I::new(uuid(sent)?), sent: sent.clone() }));
        id.ok_or_else(|| {
            let detail = "The id in the path is not a UUID as in \
                          01234567-89ab-cdef-0123-456789abcdef.";
            Problem::new(I::INVALID, detail)
        })
    }
}

/// Parses an id with hyphens, the only form in which the server returns ids.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    const LENGTH: usize = 36;
    Some(text).filter(|text| text.len() == LENGTH)?.parse().ok()
}
