//! Errors on the wire.

use super::{Decoded, Decoder, Encoder, Malformed, Wire, decode_choice, encode_choice, prefix};
use spelunk_tree::{Error, ErrorKind};

/// Causes below an error that are told.
const CAUSES_MAX: usize = 16;

/// Bytes of all texts of an error and its causes: some lines. Hosts keep errors by the thousand.
const ERROR_BYTES_MAX: usize = 4096;

impl Wire for ErrorKind {
    fn encode(&self, out: &mut Encoder) {
        encode_choice(self, &ErrorKind::ALL, out);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<ErrorKind> {
        decode_choice(&ErrorKind::ALL, from)
    }
}

/// The chain of causes as a list, outermost first.
impl Wire for Error {
    fn encode(&self, out: &mut Encoder) {
        let count = self.chain().take(CAUSES_MAX).count();
        out.put(&u8::try_from(count).unwrap_or(0));
        let mut left = ERROR_BYTES_MAX;
        let mut cut = |text: &str| {
            let text = prefix(text, left);
            left = left.saturating_sub(text.len());
            text.to_owned()
        };
        for error in self.chain().take(CAUSES_MAX) {
            out.put(&error.kind());
            out.put(&cut(error.message()));
            out.put(&error.object_name().map(&mut cut));
            out.put(&error.offset());
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Decoded<Error> {
        let count = usize::from(from.get::<u8>()?);
        if count > CAUSES_MAX {
            return Err(Malformed("an error with too many causes"));
        }
        let links = (0..count).map(|_| decode_link(from)).collect::<Decoded<Vec<Error>>>()?;
        if links.iter().map(Error::text_bytes).sum::<usize>() > ERROR_BYTES_MAX {
            return Err(Malformed("an error with too much text"));
        }
        links
            .into_iter()
            .rev()
            .reduce(|cause, error| error.because(cause))
            .ok_or(Malformed("an error without a message"))
    }
}

fn decode_link(from: &mut Decoder<'_>) -> Decoded<Error> {
    let kind = from.get::<ErrorKind>()?;
    let mut error = Error::new(kind, from.text()?);
    if let Some(object) = from.get::<Option<String>>()? {
        error = error.object(object);
    }
    if let Some(offset) = from.get()? {
        error = error.at(offset);
    }
    Ok(error)
}

impl<T: Wire> Wire for Result<T, Error> {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.is_ok());
        match self {
            Ok(value) => out.put(value),
            Err(error) => out.put(error),
        }
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Result<T, Error>> {
        if from.get()? { from.get().map(Ok) } else { from.get().map(Err) }
    }
}
