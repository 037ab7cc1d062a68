//! `/v1/reconciliation/runs` and `/v1/breaks`.

use super::Answer;
use super::accounts::ReasonBody;
use super::call::Call;
use super::fields::{Fields, MAX_NOTE};
use super::page::{List, Page};
use super::views::time_text;
use crate::ids::IdKind;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::recon::{self, Break, Finish, Run, RunStatus};
use actix_web::HttpResponse;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use uuid::Uuid;

/// Breaks read at a time while a report is written.
const REPORT_PAGE: i64 = 1_000;
/// Most breaks in a report: what is more is a disaster that no report helps with.
const REPORT_MOST: usize = 100_000;

/// What a run found.
#[derive(Debug)]
pub struct Findings {
    /// The final block that the chain was read at.
    pub block: Option<u64>,
    /// A list of {id, compared, breaks}.
    pub checks: Value,
    /// The differences.
    pub breaks: Vec<Break>,
}

/// Makes a run with this id.
pub type Make = dyn Fn(Uuid) -> BoxFuture<'static, anyhow::Result<Findings>> + Send + Sync;

/// Makes reconciliation runs, one after the other.
pub struct Reconciler {
    pool: PgPool,
    make: Box<Make>,
    turn: Mutex<()>,
    runtime: Handle,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reconciler")
    }
}

impl Reconciler {
    /// Writes down in this database what `make` finds. Must be called within the runtime that
    /// is to make the runs.
    pub fn new(
        pool: PgPool,
        make: impl Fn(Uuid) -> BoxFuture<'static, anyhow::Result<Findings>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            pool,
            make: Box::new(make),
            turn: Mutex::default(),
            runtime: Handle::current(),
        }
    }

    /// Makes a run that was written down as begun. Not on the thread of the request, which has
    /// other requests to answer.
    fn begin(self: Arc<Self>, id: Uuid) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move { self.run(id).await });
    }

    async fn run(&self, id: Uuid) {
        let turn = self.turn.lock().await;
        let found = (self.make)(id).await;
        drop(turn);
        if let Err(error) = self.write(id, found).await {
            tracing::error!(%error, run = %id, "the result of a reconciliation run is lost");
        }
    }

    async fn write(&self, id: Uuid, found: anyhow::Result<Findings>) -> anyhow::Result<()> {
        let at = runtime::clock::now();
        let (end, breaks) = match found {
            Ok(found) => {
                let clean = found.breaks.is_empty();
                let end = Finish {
                    status: if clean {
                        RunStatus::Clean
                    } else {
                        RunStatus::Breaks
                    },
                    block: found.block,
                    checks: found.checks,
                    failure: None,
                    at,
                };
                (end, found.breaks)
            }
            Err(error) => {
                tracing::error!(%error, run = %id, "a reconciliation run failed");
                let end = Finish {
                    status: RunStatus::Failed,
                    block: None,
                    checks: Value::Array(Vec::new()),
                    failure: Some(format!("{error:#}")),
                    at,
                };
                (end, Vec::new())
            }
        };
        let mut transaction = self.pool.begin().await?;
        recon::finish(&mut transaction, id, &end, &breaks).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationRun)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// `running`, `clean`, `breaks` or `failed`.
    pub status: &'static str,
    /// The final block that the chain was read at.
    pub block: Option<u64>,
    /// What was compared: a list of {id, compared, breaks}.
    #[schema(value_type = Vec<Object>)]
    pub checks: Value,
    /// Why it could not be made.
    pub failure: Option<String>,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: IdKind::Run.text(run.id),
            status: run.status.word(),
            block: run.block,
            checks: run.checks,
            failure: run.failure,
            started_at: time_text(run.started_at),
            finished_at: run.finished_at.map(time_text),
        }
    }
}

/// A difference.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Break)]
pub struct BreakView {
    /// Its id.
    pub id: String,
    /// The run that found it.
    pub run_id: String,
    /// The check that found it.
    pub check: String,
    /// What kind of difference.
    pub class: String,
    /// How bad it is.
    pub severity: String,
    /// Schema of the row.
    pub schema: String,
    /// Table of the row.
    pub table: String,
    /// Key of the row.
    pub key: String,
    /// What should be there.
    pub expected: String,
    /// What is.
    pub found: String,
    /// `open` or `resolved`.
    pub status: String,
    /// What was done about it.
    pub resolution: Option<String>,
    /// When it was found.
    pub created_at: String,
}

impl From<Break> for BreakView {
    fn from(found: Break) -> Self {
        Self {
            id: IdKind::Break.text(found.id),
            run_id: IdKind::Run.text(found.run_id),
            check: found.check,
            class: found.class,
            severity: found.severity,
            schema: found.schema,
            table: found.table,
            key: found.key,
            expected: found.expected,
            found: found.found,
            status: found.status,
            resolution: found.resolution,
            created_at: time_text(found.created_at),
        }
    }
}

/// Starts a run. It goes on after the answer; ask for it until its status is not `running`.
#[utoipa::path(post, path = "/v1/reconciliation/runs", tag = "Reconciliation", request_body = Option<ReasonBody>,
    responses((status = 202, body = RunView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut call: Call) -> Answer {
    call.caller("admin:write").await?;
    let mut fields = Fields::new(call.optional_body().await?);
    ReasonBody::take(&mut fields);
    fields.finish()?;
    let id = Uuid::now_v7();
    recon::start(&call.app.pool, id, runtime::clock::now()).await?;
    let run = find(&call, id).await?;
    call.app.reconciler.clone().begin(id);
    Ok(HttpResponse::Accepted().json(RunView::from(run)))
}

async fn find(call: &Call, id: Uuid) -> Result<Run, Problem> {
    let run = recon::run(&call.app.pool, id).await?;
    run.ok_or_else(|| Problem::new(Code::RunNotFound))
}

/// One run.
#[utoipa::path(get, path = "/v1/reconciliation/runs/{id}", tag = "Reconciliation", params(("id" = String, Path)),
    responses((status = 200, body = RunView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn get(call: Call) -> Answer {
    call.caller("admin:read").await?;
    call.no_query()?;
    let run = find(&call, call.id(IdKind::Run)?).await?;
    Ok(HttpResponse::Ok().json(RunView::from(run)))
}

/// Runs, newest first.
#[utoipa::path(get, path = "/v1/reconciliation/runs", tag = "Reconciliation",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<RunView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(call: Call) -> Answer {
    let caller = call.caller("admin:read").await?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "runs", &mut query)?;
    query.finish()?;
    let rows = recon::runs(&call.app.pool, page.after_id(), page.rows()).await?;
    Ok(page.answer(rows, |run| run.id.to_string(), RunView::from))
}

/// Breaks of a run.
#[utoipa::path(get, path = "/v1/reconciliation/runs/{id}/breaks", tag = "Reconciliation",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<BreakView>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn breaks(call: Call) -> Answer {
    let caller = call.caller("admin:read").await?;
    let id = call.id(IdKind::Run)?;
    let mut query = call.query()?;
    let page = Page::take(&call, &caller, "breaks", &mut query)?;
    query.finish()?;
    find(&call, id).await?;
    let rows = recon::breaks(&call.app.pool, id, page.after_id(), page.rows()).await?;
    Ok(page.answer(rows, |found| found.id.to_string(), BreakView::from))
}

/// A run with all its breaks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationReport)]
pub struct ReportView {
    /// The run.
    pub run: RunView,
    /// Its breaks.
    pub breaks: Vec<BreakView>,
}

/// A run with all its breaks, as one file.
#[utoipa::path(get, path = "/v1/reconciliation/runs/{id}/report", tag = "Reconciliation",
    params(("id" = String, Path), ("format" = Option<String>, Query, description = "json or csv")),
    responses((status = 200, content((ReportView = "application/json"), (String = "text/csv"))),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn report(call: Call) -> Answer {
    call.caller("admin:read").await?;
    let id = call.id(IdKind::Run)?;
    let mut query = call.query()?;
    let csv = query.word("format", &[("json", false), ("csv", true)]);
    query.finish()?;
    let run = find(&call, id).await?;
    let mut breaks: Vec<BreakView> = Vec::new();
    let mut after = None;
    while breaks.len() < REPORT_MOST {
        let page = recon::breaks(&call.app.pool, id, after, REPORT_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        breaks.extend(page.into_iter().map(BreakView::from));
    }
    if csv {
        let answer = HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .body(csv_of(&breaks));
        return Ok(answer);
    }
    let run = RunView::from(run);
    Ok(HttpResponse::Ok().json(ReportView { run, breaks }))
}

fn csv_of(breaks: &[BreakView]) -> String {
    let mut text =
        "id,run_id,check,class,severity,schema,table,key,expected,found,status,resolution,created_at\n"
            .to_owned();
    for found in breaks {
        let fields = [
            &found.id,
            &found.run_id,
            &found.check,
            &found.class,
            &found.severity,
            &found.schema,
            &found.table,
            &found.key,
            &found.expected,
            &found.found,
            &found.status,
            found.resolution.as_ref().unwrap_or(&String::new()),
            &found.created_at,
        ]
        .map(|field| quoted(field));
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// A field of a CSV file (RFC 4180). A field that a spreadsheet would run as a formula gets a
/// quote in front.
fn quoted(field: &str) -> String {
    let guard = if field.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    if guard.is_empty() && !field.contains([',', '"', '\n', '\r']) {
        return field.to_owned();
    }
    format!("\"{guard}{}\"", field.replace('"', "\"\""))
}

/// How a break was resolved.
#[derive(Debug, ToSchema)]
#[schema(as = BreakResolution)]
pub struct ResolveBody {
    /// What was done about it.
    pub resolution: String,
}

impl ResolveBody {
    /// Takes it out of a body.
    pub fn take(fields: &mut Fields) -> Self {
        let resolution = fields.optional_text("resolution", MAX_NOTE);
        if resolution.is_none() {
            fields.wrong("resolution", "is required");
        }
        Self {
            resolution: resolution.unwrap_or_default(),
        }
    }
}

/// Notes what was done about a break.
#[utoipa::path(post, path = "/v1/breaks/{id}/resolve", tag = "Reconciliation", params(("id" = String, Path)),
    request_body = ResolveBody,
    responses((status = 200, body = BreakView),
        (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn resolve(mut call: Call) -> Answer {
    let caller = call.caller("admin:write").await?;
    let id = call.id(IdKind::Break)?;
    let mut fields = Fields::new(call.body(super::body::SINGLE).await?);
    let ResolveBody { resolution } = ResolveBody::take(&mut fields);
    fields.finish()?;
    let pool = &call.app.pool;
    let open = recon::resolve(pool, id, &resolution).await?;
    let found = recon::break_by_id(pool, id).await?;
    let found = found.ok_or_else(|| Problem::new(Code::BreakNotFound))?;
    if !open {
        return Err(Problem::new(Code::AlreadyResolved));
    }
    tracing::info!(%id, key = %caller.key_id, resolution, "break resolved");
    Ok(HttpResponse::Ok().json(BreakView::from(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_and_never_formulas() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
    }
}
