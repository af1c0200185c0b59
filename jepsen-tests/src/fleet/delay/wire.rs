//! The kernel's queue of packets, as bytes: `include/uapi/linux/netfilter/nfnetlink_queue.h` over netlink.

/// The kernel's subsystem of queues, in the upper byte of a message's type.
const QUEUE: u16 = 3 << 8;
const PACKET: u16 = QUEUE;
const VERDICT: u16 = QUEUE | 1;
const CONFIG: u16 = QUEUE | 2;
/// An answer to a request that wanted one.
const ERROR: u16 = 2;

/// `NLM_F_REQUEST` and `NLM_F_ACK`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;

/// `nlmsghdr` and `nfgenmsg`.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// An attribute's length and type.
const ATTRIBUTE: usize = 4;

/// `NFQA_PACKET_HDR`, `NFQA_VERDICT_HDR`.
const PACKET_HEADER: u16 = 1;
const VERDICT_HEADER: u16 = 2;
/// `NFQA_CFG_CMD` with `NFQNL_CFG_CMD_BIND`, `NFQA_CFG_PARAMS` with `NFQNL_COPY_META`, `NFQA_CFG_QUEUE_MAXLEN`.
const COMMAND: u16 = 1;
const PARAMETERS: u16 = 2;
const LENGTH_MAX: u16 = 3;
/// `NFQA_CFG_MASK`, `NFQA_CFG_FLAGS`, and in them `NFQA_CFG_F_GSO`: packets need not be cut before they are queued.
const MASK: u16 = 4;
const FLAGS: u16 = 5;
const UNCUT: u32 = 1 << 2;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;

/// What the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// A packet waits for a verdict.
    Packet {
        /// In this queue.
        queue: u16,
        /// What its verdict names it by.
        id: u32,
    },
    /// A request was carried out (0), or was not.
    Answer(i32),
}

/// Makes a queue of at most so many packets ours: without their contents, and answered by [`Told::Answer`].
pub(super) fn bind(queue: u16, packets_max: u32) -> Vec<u8> {
    let mut attributes = attribute(COMMAND, &[1, 0, 0, 0]);
    attributes.extend(attribute(PARAMETERS, &[0, 0, 0, 0, 1]));
    attributes.extend(attribute(LENGTH_MAX, &packets_max.to_be_bytes()));
    attributes.extend(attribute(MASK, &UNCUT.to_be_bytes()));
    attributes.extend(attribute(FLAGS, &UNCUT.to_be_bytes()));
    message(CONFIG, REQUEST | ACKNOWLEDGE, queue, &attributes)
}

/// Lets a packet go on.
pub(super) fn accept(queue: u16, id: u32) -> Vec<u8> {
    let verdict = [ACCEPT.to_be_bytes(), id.to_be_bytes()].concat();
    message(VERDICT, REQUEST, queue, &attribute(VERDICT_HEADER, &verdict))
}

/// Everything that was read at once; what is of no interest here is left out.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(length) = u32_at(bytes, 0).map(|length| length as usize) {
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else {
            break;
        };
        told.extend(parse_one(message));
        bytes = bytes.get(padded(length)..).unwrap_or_default();
    }
    told
}

fn parse_one(message: &[u8]) -> Option<Told> {
    let kind = u16_at(message, 4)?;
    let body = message.get(HEADER..)?;
    match kind {
        ERROR => Some(Told::Answer(u32_at(body, 0)?.cast_signed())),
        PACKET => {
            let queue = u16::from_be(u16_at(body, 2)?);
            let mut attributes = body.get(FAMILY..)?;
            loop {
                let (length, kind) = (usize::from(u16_at(attributes, 0)?), u16_at(attributes, 2)?);
                if kind == PACKET_HEADER {
                    let id = u32::from_be(u32_at(attributes, ATTRIBUTE)?);
                    return Some(Told::Packet { queue, id });
                }
                attributes = attributes.get(padded(length.max(ATTRIBUTE))..)?;
            }
        }
        _ => None,
    }
}

fn message(kind: u16, flags: u16, queue: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY + attributes.len()).expect("a message is short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Neither a number nor a sender is needed: one socket asks, and answers come in order.
    bytes.extend([0; 8]);
    bytes.extend([0, 0]);
    bytes.extend(queue.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("an attribute is short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(padded(bytes.len()), 0);
    bytes
}

/// Messages and attributes begin at multiples of four.
fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_and_answers_are_read_one_after_the_other() {
        let header = |id: u32| [id.to_be_bytes().as_slice(), &[8, 0, 1]].concat();
        let mut read = message(
            PACKET,
            0,
            3,
            &[attribute(9, &[7]), attribute(PACKET_HEADER, &header(41))].concat(),
        );
        read.extend(message(PACKET, 0, 258, &attribute(PACKET_HEADER, &header(42))));
        let mut refused = 24_u32.to_ne_bytes().to_vec();
        refused.extend(ERROR.to_ne_bytes());
        refused.extend([0; 10]);
        refused.extend((-1_i32).to_ne_bytes());
        refused.extend([0; 4]);
        read.extend(refused);
        let told = [
            Told::Packet { queue: 3, id: 41 },
            Told::Packet { queue: 258, id: 42 },
            Told::Answer(-1),
        ];
        assert_eq!(parse(&read), told);
    }

    #[test]
    fn what_is_cut_off_or_of_no_length_is_left_out() {
        let whole = accept(1, 2);
        assert_eq!(parse(&whole[..whole.len() - 1]), []);
        assert_eq!(parse(&[0; 64]), []);
    }

    #[test]
    fn a_verdict_is_as_long_as_it_says() {
        let verdict = accept(2, 7);
        assert_eq!(u32_at(&verdict, 0), Some(verdict.len() as u32));
        assert_eq!(verdict.len(), 32);
        assert_eq!(verdict[24..], [0, 0, 0, 1, 0, 0, 0, 7]);
    }
}
