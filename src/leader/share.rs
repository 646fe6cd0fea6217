//! How many shards one operator takes.

/// Returns the most shards that one of `operators` operators takes: an equal part, rounded up, so that no shard is left
/// over.
pub fn fair_share(shards: usize, operators: usize) -> usize {
    shards.div_ceil(operators.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fair_share_is_rounded_up() {
        let cases = [
            (1, 1, 1),
            (2, 1, 2),
            (2, 2, 1),
            (2, 3, 1),
            (3, 2, 2),
            (4, 3, 2),
            (16, 5, 4),
            (64, 64, 1),
        ];
        for (shards, operators, share) in cases {
            let found = fair_share(shards, operators);
            assert_eq!(found, share, "{shards} shards, {operators} operators");
        }
        assert_eq!(fair_share(4, 0), 4, "who asks is there");
    }

    #[test]
    fn the_fair_shares_cover_all_shards() {
        for shards in 1..=64 {
            for operators in 1..=10 {
                assert!(fair_share(shards, operators) * operators >= shards);
            }
        }
    }
}
