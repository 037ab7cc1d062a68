//! Lists: a bounded page at a time.

use super::call::Call;
use super::fields::Fields;
use crate::auth::Caller;
use crate::cursor::Scope;
use crate::problem::Problem;
use actix_web::HttpResponse;
use serde::Serialize;
use uuid::Uuid;

/// Items of a page when nothing else is asked for.
const DEFAULT_LIMIT: u64 = 20;
/// Most items of a page.
const MAX_LIMIT: u64 = 100;

/// A list as callers get it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The items.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last.
    pub next_cursor: Option<String>,
}

/// Which page is asked for.
pub struct Page<'a> {
    call: &'a Call,
    list: &'static str,
    owner: Uuid,
    filters: String,
    limit: usize,
    /// Position after which the page begins.
    pub after: Option<String>,
}

impl<'a> Page<'a> {
    /// Takes `limit` and `cursor` out of a query. Must come before the filters are taken, which
    /// the cursor is bound to.
    pub fn take(
        call: &'a Call,
        caller: &Caller,
        list: &'static str,
        query: &mut Fields,
    ) -> Result<Self, Problem> {
        let limit = query
            .query_number("limit", 1, MAX_LIMIT)
            .unwrap_or(DEFAULT_LIMIT);
        let cursor = query.optional_text("cursor", 1024);
        let mut page = Self {
            call,
            list,
            owner: caller.owner,
            filters: format!("{}?{}", call.path_part("id"), query.rest()),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after: None,
        };
        if let Some(cursor) = cursor {
            page.after = Some(call.app.cursors.open(page.scope(), &cursor)?);
        }
        Ok(page)
    }

    /// Rows to ask for: one more than shown, to know whether there is another page.
    pub fn rows(&self) -> i64 {
        i64::try_from(self.limit)
            .unwrap_or(i64::MAX)
            .saturating_add(1)
    }

    /// The id after which the page begins.
    pub fn after_id(&self) -> Option<Uuid> {
        self.after.as_deref().and_then(|text| text.parse().ok())
    }

    /// The page.
    pub fn list<R, T>(
        &self,
        mut rows: Vec<R>,
        position: impl Fn(&R) -> String,
        view: impl Fn(R) -> T,
    ) -> List<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows
            .last()
            .filter(|_| more)
            .map(|last| self.call.app.cursors.seal(self.scope(), &position(last)));
        List {
            data: rows.into_iter().map(view).collect(),
            next_cursor,
        }
    }

    /// The page as an answer.
    pub fn answer<R, T: Serialize>(
        &self,
        rows: Vec<R>,
        position: impl Fn(&R) -> String,
        view: impl Fn(R) -> T,
    ) -> HttpResponse {
        HttpResponse::Ok().json(self.list(rows, position, view))
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            list: self.list,
            owner: self.owner,
            filters: &self.filters,
        }
    }
}
