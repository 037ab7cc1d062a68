//! load-tests.
