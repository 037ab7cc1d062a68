//! Writes down what hubs are told, and shows what they signed.

use actix_web::{App, HttpResponse, HttpServer, web};
use chain_messages::tower::{AttestedBatch, AttestedPage, ParamsPage, ParamsRequest};
use chain_messages::{Envelope, Event};
use hub_client::{ChainEventsRequest, Marks};
use hub_core::{Amount, ChannelParams};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    down: AtomicBool,
    /// Takes what it is told, and its answer is lost.
    mute: AtomicBool,
    headroom: Mutex<Option<Amount>>,
    told: Mutex<HashMap<String, Vec<Envelope<Event>>>>,
    signed: Mutex<Vec<AttestedBatch>>,
    params: Mutex<Vec<ChannelParams>>,
}

pub struct Recorder {
    pub url: String,
    state: Arc<State>,
}

impl Recorder {
    pub async fn start() -> Arc<Self> {
        let state = Arc::new(State::default());
        let data = web::Data::from(Arc::clone(&state));
        let server = HttpServer::new(move || {
            let route = web::post().to(record);
            App::new()
                .app_data(data.clone())
                .route("/{hub}/internal/v1/chain-events", route)
                .route(
                    "/vault/internal/v1/attestations",
                    web::get().to(attestations),
                )
                .route("/vault/internal/v1/params", web::post().to(params))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Arc::new(Self { url, state })
    }

    pub fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    pub fn set_mute(&self, mute: bool) {
        self.state.mute.store(mute, Ordering::SeqCst);
    }

    pub fn set_headroom(&self, headroom: Option<u128>) {
        *self.state.headroom.lock().unwrap() = headroom.map(Amount::new);
    }

    /// Shows batches of the vault hub, and the parameters of their channels.
    pub fn show(&self, signed: Vec<AttestedBatch>, params: Vec<ChannelParams>) {
        *self.state.signed.lock().unwrap() = signed;
        *self.state.params.lock().unwrap() = params;
    }

    /// What a hub was told, with repetitions.
    pub fn told(&self, hub: &str) -> Vec<Envelope<Event>> {
        let told = self.state.told.lock().unwrap();
        told.get(hub).cloned().unwrap_or_default()
    }
}

async fn record(
    state: web::Data<State>,
    hub: web::Path<String>,
    request: web::Json<ChainEventsRequest>,
) -> HttpResponse {
    if state.down.load(Ordering::SeqCst) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let mut told = state.told.lock().unwrap();
    told.entry(hub.into_inner())
        .or_default()
        .extend(request.into_inner().events);
    if state.mute.load(Ordering::SeqCst) {
        return HttpResponse::BadGateway().finish();
    }
    let headroom = *state.headroom.lock().unwrap();
    HttpResponse::Ok().json(Marks {
        session: uuid::Uuid::nil(),
        low_water: 0,
        headroom,
    })
}

#[derive(serde::Deserialize)]
struct After {
    after: u64,
}

async fn attestations(state: web::Data<State>, asked: web::Query<After>) -> HttpResponse {
    if state.down.load(Ordering::SeqCst) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let signed = state.signed.lock().unwrap();
    let newest = signed.last().map_or(0, |batch| batch.batch_id);
    let above = signed.iter().filter(|batch| batch.batch_id > asked.after);
    HttpResponse::Ok().json(AttestedPage {
        batches: above.cloned().collect(),
        last: newest,
        next: newest,
        more: false,
    })
}

async fn params(state: web::Data<State>, _: web::Json<ParamsRequest>) -> HttpResponse {
    let params = state.params.lock().unwrap().clone();
    HttpResponse::Ok().json(ParamsPage { params })
}
