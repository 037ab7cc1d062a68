//! account-service.
