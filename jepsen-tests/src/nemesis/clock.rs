//! Jumps of a node's wall clock. Its monotonic clock goes on as it is, as on a machine whose time is set.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::Effect;
use crate::fleet::Fleet;
use crate::waiting::pause;
use crate::waiting::until;
use crate::workload::ladder;

/// How far a clock jumps, in seconds.
const JUMP: std::ops::RangeInclusive<i64> = 30..=300;
/// How long it may take until a node that is not hindered otherwise is seen to have its new time.
const SEEN_WITHIN: Duration = Duration::from_secs(8);

/// Puts a node's clock off, and right again after a while.
pub(super) async fn jump(
    fleet: &Fleet,
    victim: usize,
    lasts: Duration,
    random: &mut Xoshiro256PlusPlus,
) -> Result<Effect> {
    let far = random.gen_range(JUMP);
    let seconds = if random.gen_bool(0.5) { far } else { -far };
    fleet.node(victim).await.set_clock(seconds)?;
    pause(lasts).await;
    let seen = until("the clock has jumped", SEEN_WITHIN, async || {
        let ahead = ladder::clock_ahead(fleet, victim).await.ok()?;
        Some(ahead).filter(|ahead| (ahead - seconds).abs() <= ladder::PRECISION)
    })
    .await;
    fleet.node(victim).await.set_clock(0)?;
    Ok(Effect {
        nodes: vec![victim],
        what: format!("the clock jumps by {seconds:+} s for {} ms", lasts.as_millis()),
        shown: match &seen {
            Ok(ahead) => format!("a read at the node was {ahead:+} s off"),
            Err(error) => format!("{error:#}"),
        },
        took: seen.is_ok(),
    })
}
