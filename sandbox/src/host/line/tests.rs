//! Answers of a worker that is none of ours.

use super::*;
use crate::shared;
use crate::wire::message::WINDOW_BYTES;
use rustix::net::{SendFlags, send};
use spelunk_tree::NodeId;
use std::time::Duration;

/// What the host makes of packets that are there before it asks.
fn exchange(packets: &[&[u8]], data: &mut [u8]) -> Result<Answer, Lost> {
    let (ours, theirs) = Socket::pair().unwrap();
    for packet in packets {
        send(&theirs, packet, SendFlags::empty()).unwrap();
    }
    let window = HostWindow::new(shared::create().unwrap()).unwrap();
    let line = Line { socket: ours, window };
    let request = Request::Attr { tree: 0, node: NodeId::new(1).unwrap() };
    line.exchange(&request, None, data, Instant::now() + Duration::from_millis(50))
}

fn packet(body_len: u32, data_len: u32) -> Vec<u8> {
    Packet { status: Status::Done, body_len, data_len }.to_bytes()
}

#[test]
fn answer_is_copied_out_of_the_window() {
    let answer = exchange(&[&packet(3, 2)], &mut [1; 5]).unwrap();

    assert_eq!((answer.status, answer.body, answer.data_len), (Status::Done, vec![0; 3], 2));
}

#[test]
fn packets_of_another_length_are_breaches() {
    assert!(matches!(exchange(&[&packet(0, 0)[..8]], &mut []), Err(Lost::Broke(_))));
    assert!(matches!(exchange(&[&[0; 10]], &mut []), Err(Lost::Broke(_))));
    assert!(matches!(exchange(&[&[0; 4000]], &mut []), Err(Lost::Broke(_))));
    assert!(matches!(exchange(&[&[9; 9]], &mut []), Err(Lost::Broke(_))));
}

#[test]
fn lengths_past_the_window_or_the_buffer_are_breaches() {
    let most = u32::try_from(WINDOW_BYTES).unwrap();
    for (body, data) in [(most, 1), (u32::MAX, 0), (0, u32::MAX), (0, 6), (most + 1, 0)] {
        assert!(
            matches!(exchange(&[&packet(body, data)], &mut [0; 5]), Err(Lost::Broke(_))),
            "{body} {data}"
        );
    }
}

#[test]
fn silence_ends_at_the_deadline() {
    let (ours, _theirs) = Socket::pair().unwrap();
    let window = HostWindow::new(shared::create().unwrap()).unwrap();
    let line = Line { socket: ours, window };
    let begin = Instant::now();

    let answer = line.exchange(&Request::NoParent, None, &mut [], begin + Duration::from_millis(50));

    assert_eq!(answer.map(drop), Err(Lost::Hung));
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

#[test]
fn closed_channel_is_a_death() {
    let (ours, theirs) = Socket::pair().unwrap();
    drop(theirs);
    let window = HostWindow::new(shared::create().unwrap()).unwrap();
    let line = Line { socket: ours, window };

    let answer = line.exchange(&Request::NoParent, None, &mut [], Instant::now() + Duration::from_secs(1));

    assert_eq!(answer.map(drop), Err(Lost::Died));
}
