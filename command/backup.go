package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/osa-edge/osa-gateway/storage/badger/backup"
)

type backupFlags struct {
	admin, store string
	full, asJSON bool
}

func backupCommand() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Writes a backup of a running gateway's store",
		Long: `Writes a backup of a running gateway's store to a file, over Caddy's admin endpoint.
The gateway goes on taking events meanwhile; what is in the backup is the store
as it was at one moment.

Where FILE exists, only what changed since is appended to it. Before that the
file is read and checked, and if anything breaks off it is cut back to what it
was, at the next backup if this command was killed. A file that holds a backup of
another store is left alone: so is a restored one's, which begins a backup of its
own. With --full FILE is replaced.`,
		Example: `  osa-gateway osa backup /backup/osa.bak
  osa-gateway osa backup --admin unix//run/osa-gateway/admin.sock /backup/osa.bak`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBackup(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.admin, "admin", adminAddress(), "address of the gateway's admin endpoint; default is OSA_ADMIN_ENDPOINT, then Caddy's")
	fl.StringVar(&f.store, "store", "", "path of the store, where the gateway has several open")
	fl.BoolVar(&f.full, "full", false, "replace FILE with a full backup")
	fl.BoolVar(&f.asJSON, "json", false, "print the outcome as one JSON object")
	return cmd
}

func adminAddress() string {
	if a := os.Getenv("OSA_ADMIN_ENDPOINT"); a != "" {
		return a
	}
	return "localhost:2019"
}

func runBackup(ctx context.Context, out, notes io.Writer, file string, f *backupFlags) error {
	start := time.Now()
	file, err := regularFile(file)
	if err != nil {
		return err
	}
	since, size, err := backupEnd(ctx, notes, file, f.full)
	if err != nil {
		return err
	}
	name := file
	if since == "" {
		name = file + ".partial"
	}
	next, n, err := fetchBackup(name, since, size, f)
	if err != nil {
		return err
	}
	if name != file {
		if err := os.Rename(name, file); err != nil {
			return err
		}
	}
	if err := syncDirectory(filepath.Dir(file)); err != nil {
		return err
	}
	how := "written"
	if since != "" {
		how = "appended"
	}
	return printOutcome(out, f.asJSON, fmt.Sprintf("%s: %s %s in %s", file, humanize.IBytes(uint64(n)), how,
		time.Since(start).Round(time.Millisecond)), map[string]any{
		"file": file, "bytes": n, "since": since, "next": next, "duration_ms": time.Since(start).Milliseconds(),
	})
}

// regularFile is the file that name leads to. A device or a directory is not
// replaced by a backup.
func regularFile(name string) (string, error) {
	target, err := filepath.EvalSymlinks(name)
	if errors.Is(err, os.ErrNotExist) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(target)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	return target, err
}

// backupEnd reads what the file holds already: the point to go on from, and
// where. What a backup that was killed has appended is written over.
func backupEnd(ctx context.Context, notes io.Writer, file string, full bool) (since string, size int64, err error) {
	if full {
		return "", 0, nil
	}
	in, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || info.Size() == 0 {
		return "", 0, err
	}
	end, err := backup.Check(ctx, in)
	if errors.Is(err, backup.ErrCut) && end.Segments > 0 {
		fmt.Fprintf(notes, "%s: the last backup broke off; going on after the %d before it\n", file, end.Segments)
		err = nil
	}
	if err != nil {
		if end.Segments > 0 {
			err = fmt.Errorf("%w (osa restore --salvage restores the %d parts before that)", err, end.Segments)
		}
		return "", 0, fmt.Errorf("%s: %w: write to another file, or replace it with --full", file, err)
	}
	return end.Next, end.Size, nil
}

// fetchBackup appends what changed since to the file, which has that size. If it
// breaks off, the file is cut back.
func fetchBackup(name, since string, size int64, f *backupFlags) (next string, n int64, err error) {
	flags := os.O_WRONLY | os.O_CREATE
	if since == "" {
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Truncate(size))
		}
		err = errors.Join(err, file.Close())
		if err != nil && since == "" {
			_ = os.Remove(name)
		}
	}()
	if err := file.Truncate(size); err != nil {
		return "", 0, err
	}
	if _, err := file.Seek(size, io.SeekStart); err != nil {
		return "", 0, err
	}
	query := url.Values{"since": {since}, "store": {f.store}}
	resp, err := getAdmin(f.admin, "/osa/backup?"+query.Encode())
	if answered, ok := errors.AsType[*adminError](err); ok && answered.status == http.StatusConflict {
		return "", 0, fmt.Errorf("%s holds a backup of another store, of the one that this was restored from, or of a state of it that is gone: write to another file, or replace it with --full", name)
	}
	if err != nil {
		return "", 0, fmt.Errorf("asking the gateway at %s (another one? --admin): %w", f.admin, err)
	}
	defer resp.Body.Close()
	if n, err = io.Copy(file, resp.Body); err != nil {
		return "", 0, fmt.Errorf("the backup broke off: %w", err)
	}
	if next = resp.Trailer.Get("Osa-Backup-Next"); next == "" {
		return "", 0, errors.New("the backup broke off: the gateway did not say how it ends (is it of another version?)")
	}
	return next, n, file.Sync()
}

type restoreFlags struct {
	to                     string
	check, salvage, asJSON bool
}

func restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore --to DIR FILE…",
		Short: "Makes a store of a backup",
		Long: `Makes a store of a backup, in a directory that does not exist or is empty. The gateway
must not run on it meanwhile. Several files are read one after the other, as if
they were one.

The restored store goes on with ids far beyond any that the store which was
backed up can have given out since. So no id is ever used twice; to streams that
come back with an older id of after the backup it says stream_reset.`,
		Example: `  osa-gateway osa restore --to /var/lib/osa-gateway/store /backup/osa.bak
  osa-gateway osa restore --check /backup/osa.bak`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRestore(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args, &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.to, "to", "", "the store's directory")
	fl.BoolVar(&f.check, "check", false, "only read the backup and say whether it is whole")
	fl.BoolVar(&f.salvage, "salvage", false, "where a later part of the backup is cut off or damaged, restore those before it")
	fl.BoolVar(&f.asJSON, "json", false, "print the outcome as one JSON object")
	return cmd
}

func runRestore(ctx context.Context, out, notes io.Writer, names []string, f *restoreFlags) error {
	if f.check == (f.to != "") || f.check && f.salvage {
		return errors.New("say where the store goes with --to DIR, or only read the backup with --check")
	}
	var files []*os.File
	var readers []io.Reader
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		files, readers = append(files, file), append(readers, file)
	}
	in := io.MultiReader(readers...)
	if f.check || f.salvage {
		end, err := backup.Check(ctx, in)
		if f.salvage && end.Segments > 0 && errors.Is(err, backup.ErrInvalid) {
			fmt.Fprintf(notes, "the backup is whole up to its segment %d only: %v\n", end.Segments, err)
			err = nil
		}
		if err != nil {
			return err
		}
		if f.check {
			return printOutcome(out, f.asJSON, fmt.Sprintf("whole: %d segments", end.Segments),
				map[string]any{"segments": end.Segments, "next": end.Next})
		}
		for _, r := range files {
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
		in = io.LimitReader(io.MultiReader(readers...), end.Size)
	}
	if err := backup.Restore(ctx, in, f.to, zap.NewNop()); err != nil {
		if errors.Is(err, backup.ErrInvalid) {
			return fmt.Errorf("%w: --salvage restores the parts before that, if there are any", err)
		}
		return err
	}
	return printOutcome(out, f.asJSON, "restored to "+f.to, map[string]any{"store": f.to})
}

// syncDirectory makes a rename durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
