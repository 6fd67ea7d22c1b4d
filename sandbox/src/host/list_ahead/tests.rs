//! What is expected of a walk, and what becomes of guesses.

use super::*;
use spelunk_tree::{Attr, Entry, ErrorKind, Name};

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn start(id: u64) -> Place {
    (node(id), Cursor::START)
}

/// A page of directories with these ids.
fn page(ids: &[u64], next: Option<u64>) -> Page {
    let entry = |id: &u64| {
        let name = Name::new(id.to_string().into_bytes()).unwrap();
        let entry = Entry { name, node: node(*id), attr: Attr::new(Kind::Directory) };
        Listed::Entry { entry, next: Cursor(*id) }
    };
    Page { entries: ids.iter().map(entry).collect(), next: next.map(Cursor) }
}

/// A walk that has listed directory 1, with the directories 2 to 5, and asks for 2.
fn walk() -> State {
    let mut state = State::default();
    state.missed(start(1));
    state.expect_below(start(1), &page(&[2, 3, 4, 5], None));
    state.missed(start(2));
    state
}

#[test]
fn looking_at_one_directory_is_no_walk() {
    let mut state = State::default();

    state.missed(start(1));
    state.expect_below(start(1), &page(&[2, 3], None));

    assert_eq!(state.next_places(), []);
}

#[test]
fn a_walk_is_expected_to_go_on_in_the_order_of_the_listing() {
    let mut state = walk();

    assert_eq!(state.next_places(), [start(3), start(4), start(5)]);
}

#[test]
fn what_is_below_a_directory_comes_before_what_is_beside_it() {
    let mut state = walk();

    state.keep(&[start(3)], Ok(vec![Ok(page(&[30, 31], Some(7)))]));

    assert_eq!(state.next_places(), [(node(3), Cursor(7))]);
    assert_eq!(state.next_places(), [start(30), start(31)]);
    assert_eq!(state.bytes, page(&[30, 31], Some(7)).memory_bytes());
}

#[test]
fn what_comes_behind_a_large_directory_waits_until_it_is_listed() {
    let mut state = walk();
    state.keep(&[start(3)], Ok(vec![Ok(page(&[30], None))]));
    state.expected.push((node(4), Cursor(9)));
    state.expected.push(start(40));

    let asked: Vec<_> = (0..3).map(|_| state.next_places()).collect();

    assert_eq!(asked, [vec![start(40)], vec![(node(4), Cursor(9))], vec![start(30)]]);
}

#[test]
fn what_was_listed_and_not_wanted_yet_is_kept() {
    let mut state = walk();
    let mut first = page(&[30, 31, 32], Some(32));

    state.keep_rest(node(3), &mut first, 2);

    assert_eq!(first, page(&[30, 31], Some(31)));
    assert_eq!(state.pages[&(node(3), Cursor(31))], Some(page(&[32], Some(32))));
    assert_eq!(state.bytes, page(&[32], Some(32)).memory_bytes());
}

#[test]
fn a_wrong_guess_ends_it() {
    let mut state = walk();
    state.keep(&[start(3)], Ok(vec![Ok(page(&[30], None))]));

    state.missed(start(99));

    assert_eq!((state.next_places(), state.bytes, state.waiting_max), (Vec::new(), 0, 0));
    assert!(state.pages.is_empty());
}

#[test]
fn what_an_answer_leaves_out_is_asked_for_again_and_what_failed_is_not() {
    let mut state = walk();
    let places = state.next_places();

    state.keep(&places, Ok(vec![Err(Error::corrupt("bad")), Ok(page(&[], None))]));

    assert!(!state.pages.contains_key(&start(3)), "whoever wants it will be told why");
    assert_eq!(state.pages[&start(4)], Some(page(&[], None)));
    assert_eq!(state.next_places(), [start(5)]);
}

#[test]
fn a_lost_worker_leaves_nothing_that_somebody_would_wait_for() {
    let mut state = walk();
    let places = state.next_places();

    state.keep(&places, Err(Error::new(ErrorKind::WorkerLost, "dead")));

    assert!(state.pages.is_empty());
}

#[test]
fn a_directory_in_itself_is_asked_for_once() {
    let mut state = walk();

    state.keep(&[start(3)], Ok(vec![Ok(page(&[3, 3], None))]));

    assert_eq!(state.next_places(), [start(4), start(5)]);
}

#[test]
fn expectations_are_bounded_and_the_last_ones_are_forgotten() {
    let mut state = State::default();
    let ids: Vec<u64> = (1..=EXPECTED_MAX as u64 + 10).collect();

    state.expect_below(start(1), &page(&ids, None));

    assert_eq!(state.expected.len(), EXPECTED_MAX);
    assert_eq!(state.expected.last(), Some(&start(1)));
}

#[test]
fn too_much_waiting_stops_it() {
    let mut state = walk();

    state.bytes = WAITING_BYTES_MAX;

    assert_eq!(state.room(), 0);
    assert!(!state.wants_more());
}

#[test]
fn page_of_more_than_is_wanted_is_split_where_the_listing_goes_on() {
    let mut whole = page(&[2, 3, 4], Some(9));

    let (at, rest) = split(&mut whole, 2).unwrap();

    assert_eq!(whole, page(&[2, 3], Some(3)));
    assert_eq!((at, rest), (Cursor(3), page(&[4], Some(9))));
    assert_eq!(split(&mut whole, 2), None);
}
