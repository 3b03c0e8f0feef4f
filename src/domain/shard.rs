//! Divides the accounts among several processes.

use std::fmt;
use std::num::NonZeroU32;

/// One of several processes that divide the accounts among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    total: NonZeroU32,
}

impl Default for Shard {
    /// The only one.
    fn default() -> Self {
        Self { number: 0, total: NonZeroU32::MIN }
    }
}

impl Shard {
    /// Shard `number` of `total`, counted from 0; `None` if there is no such shard.
    pub fn new(number: u32, total: u32) -> Option<Self> {
        let total = NonZeroU32::new(total)?;
        (number < total.get()).then_some(Self { number, total })
    }

    /// Whether an account belongs to this shard. `key` identifies the account.
    ///
    /// Every process and every version gives the same answer. If there are more shards, accounts move to the new ones
    /// only, and as few as can be: one of M + 1 from M shards.
    pub fn has(self, key: &str) -> bool {
        jump(fnv_1a(key), self.total) == self.number
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.total)
    }
}

/// The hash FNV-1a of 64 bits, which kube-state-metrics uses for the same purpose.
fn fnv_1a(key: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    key.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The jump consistent hash of Lamping and Veach, <https://arxiv.org/abs/1406.2294>, with whole numbers.
fn jump(mut key: u64, total: NonZeroU32) -> u32 {
    let (mut shard, mut next) = (0, 0);
    while next < u64::from(total.get()) {
        shard = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((shard + 1) << 31) / ((key >> 33) + 1);
    }
    u32::try_from(shard).expect("it is below the number of shards")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: u32 = 20_000;

    /// The shard of each of many accounts.
    fn shards(total: u32) -> Vec<u32> {
        let of = |account: u32| {
            let key =
                format!("{account:08x}-0000-4000-8000-000000000000 00000000-0000-0000-0000-00000000c11e");
            let owners: Vec<u32> =
                (0..total).filter(|number| Shard::new(*number, total).unwrap().has(&key)).collect();
            assert_eq!(owners.len(), 1, "{key} belongs to the shards {owners:?} of {total}");
            owners[0]
        };
        (0..ACCOUNTS).map(of).collect()
    }

    #[test]
    fn shards_are_counted_from_0() {
        assert!(Shard::new(0, 0).is_none() && Shard::new(3, 3).is_none() && Shard::new(2, 3).is_some());
        assert_eq!(Shard::new(0, 1), Some(Shard::default()));
        assert!(Shard::default().has("any"));
    }

    #[test]
    fn the_shard_of_an_account_never_changes() {
        // In a shared state directory, processes of two versions must agree.
        let shards = ["contoso.example a", "fabrikam.example b", "c", ""]
            .map(|key| [1, 2, 3, 10, 1000].map(|total| jump(fnv_1a(key), NonZeroU32::new(total).unwrap())));
        assert_eq!(fnv_1a("foobar"), 0x8594_4171_f739_67e8, "the published test vector");
        assert_eq!(
            shards,
            [[0, 0, 0, 0, 820], [0, 1, 1, 9, 586], [0, 0, 0, 0, 240], [0, 1, 1, 1, 266]],
            "as the published program of the jump hash says, with floating-point numbers"
        );
    }

    #[test]
    fn accounts_are_spread_evenly() {
        for total in [2, 3, 7] {
            let shards = shards(total);
            for number in 0..total {
                let count = shards.iter().filter(|shard| **shard == number).count();
                let fair = (ACCOUNTS / total) as usize;
                assert!(count.abs_diff(fair) < fair / 10, "shard {number} of {total} has {count}");
            }
        }
    }

    #[test]
    fn one_more_shard_moves_few_accounts_and_only_to_itself() {
        for total in [1, 2, 3, 7] {
            let (before, after) = (shards(total), shards(total + 1));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            assert!(moved.iter().all(|(_, after)| **after == total), "an account moved to an old shard");
            let fair = (ACCOUNTS / (total + 1)) as usize;
            assert!(moved.len() <= fair + fair / 10, "{} of {ACCOUNTS} moved from {total}", moved.len());
        }
    }
}
