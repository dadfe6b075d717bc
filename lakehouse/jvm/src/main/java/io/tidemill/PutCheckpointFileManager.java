package io.tidemill;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.execution.streaming.checkpointing.CheckpointFileManager.CancellableFSDataOutputStream;
import org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager;

/**
 * Checkpoints on S3 whose files are put once, under their own name.
 *
 * <p>Spark writes a file beside its place and renames it, which S3 does not know: Hadoop copies and deletes, and looks before and
 * after. Between two batches of Real-time Mode that happens twice, while rows wait. One put is as atomic, and with {@code
 * If-None-Match: *} the store lets just one driver create a file. Elsewhere than on S3, files are renamed as ever.
 */
public class PutCheckpointFileManager extends FileSystemBasedCheckpointFileManager {
  private final FileSystem fs;

  /** Called by Spark, by reflection. */
  public PutCheckpointFileManager(Path root, Configuration hadoopConf) throws IOException {
    super(root, hadoopConf);
    fs = root.getFileSystem(hadoopConf);
  }

  @Override
  public CancellableFSDataOutputStream createAtomic(Path path, boolean overwriteIfPossible) {
    try {
      if (!fs.hasPathCapability(path, ConditionalPutLogStore.IF_ABSENT)) {
        return super.createAtomic(path, overwriteIfPossible);
      }
      String writer = UUID.randomUUID().toString();
      return new Put(fs, path, overwriteIfPossible, writer);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  /** A file that is there when it is closed, and never when it is cancelled. */
  private static final class Put extends CancellableFSDataOutputStream {
    private final FileSystem fs;
    private final Path path;
    private final boolean overwrite;
    private final String writer;
    private final FSDataOutputStream stream;
    private boolean ended;

    Put(FileSystem fs, Path path, boolean overwrite, String writer) throws IOException {
      this(fs, path, overwrite, writer, ConditionalPutLogStore.open(fs, path, overwrite, writer));
    }

    private Put(FileSystem fs, Path path, boolean overwrite, String writer, FSDataOutputStream stream) {
      super(stream);
      this.fs = fs;
      this.path = path;
      this.overwrite = overwrite;
      this.writer = writer;
      this.stream = stream;
    }

    @Override
    public synchronized void close() throws IOException {
      if (ended) {
        return;
      }
      ended = true;
      try {
        stream.close(); // the put
      } catch (IOException failure) {
        if (overwrite) {
          throw failure;
        }
        try {
          ConditionalPutLogStore.settle(fs, path, writer, failure);
        } catch (java.nio.file.FileAlreadyExistsException lost) { // Spark knows Hadoop's
          FileAlreadyExistsException known = new FileAlreadyExistsException(path.toString());
          known.initCause(lost);
          throw known;
        }
      }
    }

    @Override
    public synchronized void cancel() {
      if (!ended) {
        ended = true;
        stream.abort();
      }
    }
  }
}
