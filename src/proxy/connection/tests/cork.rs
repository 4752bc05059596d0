//! What is held back goes out at once, whole and in order.
//!
//! Inside: the cork over a socket that takes what it is told to. Kept out: HTTP/2 above it (`over_http2.rs`).

use std::task::Waker;

use proptest::collection::vec;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::*;
use crate::proxy::connection::cork::Corked;

/// A socket that takes so many bytes, and writes down what it took with each call.
#[derive(Debug, Clone, Default)]
struct Taker {
    room: Rc<Cell<usize>>,
    calls: Rc<RefCell<Vec<Vec<u8>>>>,
    is_shut: Rc<Cell<bool>>,
}

impl Taker {
    fn with_room(room: usize) -> Self {
        Self { room: Rc::new(Cell::new(room)), ..Self::default() }
    }

    fn taken(&self) -> Vec<u8> {
        self.calls.borrow().concat()
    }
}

impl AsyncWrite for Taker {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = buf.len().min(self.room.get());
        if bytes == 0 {
            return Poll::Pending;
        }
        self.room.set(self.room.get() - bytes);
        self.calls.borrow_mut().push(buf[..bytes].to_vec());
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut.set(true);
        Poll::Ready(Ok(()))
    }
}

fn release(corked: &Corked<Taker>) -> bool {
    corked.release(&mut Context::from_waker(Waker::noop())).expect("taken, or waits")
}

#[test]
fn writes_of_a_turn_go_out_in_one_call_at_its_end() {
    on_edge(Limits::default(), async |edge| {
        let socket = Taker::with_room(usize::MAX);
        let mut corked = Corked::new(socket.clone(), Rc::clone(edge.connections.worker()));
        for piece in ["head ", "and ", "body"] {
            corked.write_all(piece.as_bytes()).await.expect("held");
            corked.flush().await.expect("no more than a wish");
        }
        assert_eq!(socket.taken(), b"");
        assert!(!release(&corked));
        assert_eq!(*socket.calls.borrow(), [b"head and body"]);
        corked.write_all(b"leave").await.expect("held");
        corked.shutdown().await.expect("in order");
        assert_eq!(socket.taken(), b"head and bodyleave");
        assert!(socket.is_shut.get());
    });
}

#[test]
fn a_socket_that_takes_little_holds_the_writer_back_and_gets_every_byte_in_order() {
    on_edge(Limits::default(), async |edge| {
        let cases = (vec(0_usize..40_000, 1..12), vec(1_usize..50_000, 1..24));
        let outcome = TestRunner::default().run(&cases, |(pieces, rooms)| {
            let socket = Taker::default();
            let mut corked = Corked::new(socket.clone(), Rc::clone(edge.connections.worker()));
            let all: Vec<u8> = (0..pieces.iter().sum()).map(|at: usize| (at % 251) as u8).collect();
            let (mut given, mut left) = (0, pieces.into_iter());
            let mut until = left.next();
            for room in rooms.iter().copied().chain(std::iter::repeat(usize::MAX)) {
                socket.room.set(room);
                let mut turned_away = false;
                while let Some(end) = until.filter(|_| !turned_away) {
                    let mut cx = Context::from_waker(Waker::noop());
                    match Pin::new(&mut corked).poll_write(&mut cx, &all[given..end]) {
                        Poll::Ready(bytes) => given += bytes.expect("held"),
                        Poll::Pending => turned_away = true,
                    }
                    if given == end {
                        until = left.next().map(|piece| end + piece);
                    }
                }
                assert!(given - socket.taken().len() <= 64 * 1_024, "held: {given}, {}", socket.taken().len());
                let waits = given - socket.taken().len();
                assert_eq!(release(&corked), turned_away, "there is room after {room}");
                assert_eq!(socket.taken().len(), given - waits.saturating_sub(room));
                if until.is_none() && socket.taken().len() == given {
                    break;
                }
            }
            assert_eq!(socket.taken(), all);
            Ok(())
        });
        assert_eq!(outcome, Ok(()));
    });
}
