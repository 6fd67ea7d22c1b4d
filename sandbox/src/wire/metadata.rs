//! The metadata of a file backup on the wire.

use super::{Decoded, Decoder, Encoder, Malformed, Wire};
use spelunk_formats::backup::urbackup::{Metadata, Stream};
use spelunk_tree::limits;

impl Wire for Stream {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.name);
        out.put(&self.size);
        out.put(&self.offset);
    }
    fn decode(from: &mut Decoder<'_>) -> Decoded<Stream> {
        Ok(Stream { name: from.get()?, size: from.get()?, offset: from.get()? })
    }
}

impl Wire for Metadata {
    fn encode(&self, out: &mut Encoder) {
        out.put(&self.kind);
        out.put(&self.attr);
        out.put(&self.link_target.is_some());
        out.blob(self.link_target.as_deref().unwrap_or_default());
        out.list(&self.xattrs);
        out.put(&self.lost_xattrs);
        out.list(&self.streams);
    }

    fn decode(from: &mut Decoder<'_>) -> Decoded<Metadata> {
        let (kind, attr) = (from.get()?, from.get()?);
        let is_link = from.get::<bool>()?;
        let target = from.blob(limits::LINK_TARGET_BYTES_MAX)?;
        if !is_link && !target.is_empty() {
            return Err(Malformed("a target of no link"));
        }
        Ok(Metadata {
            kind,
            attr,
            link_target: is_link.then(|| target.to_vec()),
            xattrs: from.list(limits::XATTRS_MAX)?,
            lost_xattrs: from.get()?,
            streams: from.list(limits::STREAMS_MAX)?,
        })
    }
}
