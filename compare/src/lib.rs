//! The same metadata workloads on Ramus and its rivals, interleaved in one run, every answer verified.
//!
//! An engine is a file of [`engines`], a family of workloads a file of [`work`]; [`rows`] says what the rows are and which bars
//! Ramus is to meet in them.

pub mod chart;
pub mod child;
pub mod clock;
pub mod engine;
pub mod engines;
pub mod machine;
pub mod model;
pub mod options;
pub mod paths;
pub mod random;
pub mod results;
pub mod rows;
pub mod table;
pub mod work;
pub mod world;
