//! What any program on a terminal needs: how output looks, tables, questions, and texts without control characters.

pub mod ask;
pub mod look;
pub mod output;
pub mod plain;
pub mod table;
pub mod text;
