//! Transactions: that their answers are those of a plain map, that each kind of conflict is found, and that recorded histories of
//! many threads are serializable, as a checker sees it that finds planted anomalies.

mod checker;
#[path = "../common/mod.rs"]
mod common;
mod conflicts;
mod histories;
mod limits;
mod model;
mod planted;
mod semantics;
